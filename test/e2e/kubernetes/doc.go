// Package kubernetes shows deploy/kubernetes to a real API server: what
// kustomize renders, under strict validation and Pod Security admission, and
// what the admission policy makes of pods.
//
// There is no kubelet: nothing is run. That the steering itself works is shown
// by packages transparent and redirect.
package kubernetes
