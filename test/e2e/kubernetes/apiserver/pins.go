// Package apiserver pins what build.sh builds and reads.
package apiserver

import _ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
