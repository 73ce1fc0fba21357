//go:build modules

package deploy

// Modules of which files are read and no code is built: imported, so that go.mod
// keeps their versions.
import (
	_ "github.com/kserve/kserve/pkg/constants"
	_ "github.com/kubeflow/trainer/v2/pkg/constants"
	_ "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	_ "sigs.k8s.io/jobset/pkg/constants"
	_ "sigs.k8s.io/kueue/pkg/controller/constants"
)
