// Package kubernetes shows deploy/kubernetes to a real API server: what
// kustomize renders, under strict validation and Pod Security admission, and
// what the admission policy makes of pods. There is no kubelet: one pod's
// programs are run as a kubelet would, in a network of the tests' own. It needs
// root.
package kubernetes
