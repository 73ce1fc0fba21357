package deploy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// definitions are the files with the CRDs of the kinds used here, by module.
var definitions = map[string][]string{
	"github.com/kubeflow/trainer/v2":              {"manifests/base/crds/*.yaml"},
	"sigs.k8s.io/jobset":                          {"config/components/crd/bases/*.yaml"},
	"sigs.k8s.io/kueue":                           {"config/components/crd/bases/*.yaml"},
	"github.com/kserve/kserve":                    {"config/crd/full/serving.kserve.io_*.yaml", "test/crds/keda.yaml", "test/crds/gatewayapi_httproute.yaml"},
	"sigs.k8s.io/gateway-api-inference-extension": {"config/crd/bases/*.yaml"},
}

// kind is what one version of a custom resource looks like.
type kind struct {
	schema    *structural.Structural
	validator validation.SchemaValidator
	rules     *cel.Validator
}

// kinds are the custom resources of all definitions.
var kinds = sync.OnceValues(func() (map[schema.GroupVersionKind]*kind, error) {
	all := map[schema.GroupVersionKind]*kind{}
	for module, patterns := range definitions {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", module, err)
		}
		for _, pattern := range patterns {
			files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), pattern))
			if err != nil || len(files) == 0 {
				return nil, fmt.Errorf("%s: no file %s: %w", module, pattern, err)
			}
			for _, file := range files {
				if err := define(all, file); err != nil {
					return nil, fmt.Errorf("%s: %w", file, err)
				}
			}
		}
	}
	return all, nil
})

// define adds the kinds of a file.
func define(all map[schema.GroupVersionKind]*kind, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, document := range documents(string(text)) {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal([]byte(document), &crd); err != nil {
			return err
		}
		for _, v := range crd.Spec.Versions {
			if crd.Kind != "CustomResourceDefinition" || v.Schema == nil {
				continue
			}
			var own apiextensions.CustomResourceValidation
			if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.Schema, &own, nil); err != nil {
				return err
			}
			k := &kind{}
			if k.schema, err = structural.NewStructural(own.OpenAPIV3Schema); err != nil {
				return err
			}
			if k.validator, _, err = validation.NewSchemaValidator(own.OpenAPIV3Schema); err != nil {
				return err
			}
			k.rules = cel.NewValidator(k.schema, true, celconfig.PerCallLimit)
			all[schema.GroupVersionKind{Group: crd.Spec.Group, Version: v.Name, Kind: crd.Spec.Names.Kind}] = k
		}
	}
	return nil
}

// faults are what an API server would refuse: unknown fields, wrong values and
// broken rules.
func (k *kind) faults(object map[string]any) []string {
	var wrong []string
	options := structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object, k.schema, true, options) {
		wrong = append(wrong, "unknown field "+path)
	}
	defaulting.Default(object, k.schema)
	for _, err := range validation.ValidateCustomResource(nil, object, k.validator) {
		wrong = append(wrong, err.Error())
	}
	rules, _ := k.rules.Validate(context.Background(), nil, k.schema, object, nil, celconfig.RuntimeCELCostBudget)
	for _, err := range rules {
		wrong = append(wrong, err.Error())
	}
	return wrong
}
