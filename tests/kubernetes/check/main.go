// check: what the API server would say about manifests, without a server.
//
//	check FOLDER|FILE... [--crds FOLDER]
//
// A folder is rendered by kustomize. Each object is decoded strictly (an unknown or doubled field is an error), defaulted, and validated by the API
// server's own code, or by the schema of its CRD; pods must satisfy the Pod Security Standard "restricted". Exit status 1: something is wrong.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	api "k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	psapi "k8s.io/pod-security-admission/api"
	pspolicy "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

var (
	decoder  = serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDecoder()
	security pspolicy.Evaluator
	custom   = map[schema.GroupVersionKind]*customResource{}
)

// A version of a custom resource: its schema, as the server keeps it.
type customResource struct {
	structural *structuralschema.Structural
	validator  crdvalidation.SchemaValidator
	rules      *cel.Validator
}

func main() {
	var err error
	if security, err = pspolicy.NewEvaluator(pspolicy.DefaultChecks()); err != nil {
		fail("pod security: %v", err)
	}
	paths := os.Args[1:]
	for i := range paths {
		if paths[i] == "--crds" && i+1 < len(paths) {
			readCRDs(paths[i+1])
			paths = append(paths[:i:i], paths[i+2:]...)
			break
		}
	}
	if len(paths) == 0 {
		fail("usage: check FOLDER|FILE... [--crds FOLDER]")
	}
	objects, wrong := 0, 0
	for _, path := range paths {
		documents, err := read(path)
		if err != nil {
			fail("%s: %v", path, err)
		}
		for _, document := range documents {
			objects++
			for _, problem := range check(document) {
				fmt.Printf("%s: %v\n", path, problem)
				wrong++
			}
		}
	}
	fmt.Printf("%d objects, %d faults\n", objects, wrong)
	if wrong > 0 || objects == 0 {
		os.Exit(1)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(2)
}

// read gives the YAML documents of a file, or those that kustomize makes of a folder.
func read(path string) ([][]byte, error) {
	text, err := os.ReadFile(path)
	if info, e := os.Stat(path); e == nil && info.IsDir() {
		rendered, e := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), path)
		if e != nil {
			return nil, e
		}
		text, err = rendered.AsYaml()
	}
	if err != nil {
		return nil, err
	}
	var documents [][]byte
	for reader := yamlutil.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := reader.Read()
		if err == io.EOF {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		documents = append(documents, document)
	}
}

// check says what is wrong with one object.
func check(document []byte) []error {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil {
		return []error{err}
	}
	kind := schema.FromAPIVersionAndKind(head.APIVersion, head.Kind)
	problems := checkCustom
	if custom[kind] == nil {
		problems = checkBuiltIn
	}
	var named []error
	for _, problem := range problems(kind, document) {
		named = append(named, fmt.Errorf("%s %s: %w", head.Kind, head.Metadata.Name, problem))
	}
	return named
}

func checkBuiltIn(kind schema.GroupVersionKind, document []byte) []error {
	object, _, err := decoder.Decode(document, nil, nil)
	if err != nil {
		return []error{err}
	}
	var list field.ErrorList
	switch o := object.(type) {
	case *apps.Deployment:
		list = append(appsvalidation.ValidateDeployment(o, corevalidation.PodValidationOptions{}), restricted(&o.Spec.Template)...)
	case *apps.StatefulSet:
		list = append(appsvalidation.ValidateStatefulSet(o, corevalidation.PodValidationOptions{}), restricted(&o.Spec.Template)...)
	case *networking.NetworkPolicy:
		list = networkvalidation.ValidateNetworkPolicy(o, networkvalidation.NetworkPolicyValidationOptions{})
	case *policy.PodDisruptionBudget:
		list = policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{})
	case *api.Namespace:
		list = corevalidation.ValidateNamespace(o)
	case *api.ServiceAccount:
		list = corevalidation.ValidateServiceAccount(o)
	case *api.Service:
		list = corevalidation.ValidateServiceCreate(o)
	case *api.ConfigMap:
		list = corevalidation.ValidateConfigMap(o)
	case *api.Secret:
		list = corevalidation.ValidateSecret(o)
	default:
		return []error{fmt.Errorf("this check knows no validation of %s: add it to tests/kubernetes/check/main.go", kind)}
	}
	return errors(list)
}

// restricted holds a pod template against the Pod Security Standard of that name.
func restricted(template *api.PodTemplateSpec) field.ErrorList {
	external := &corev1.PodTemplateSpec{}
	if err := legacyscheme.Scheme.Convert(template, external, nil); err != nil {
		fail("pod template: %v", err)
	}
	var list field.ErrorList
	level := psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}
	for _, result := range security.EvaluatePod(level, &external.ObjectMeta, &external.Spec) {
		if !result.Allowed {
			list = append(list, field.Forbidden(field.NewPath("spec", "template"), "Pod Security restricted: "+result.ForbiddenReason+": "+result.ForbiddenDetail))
		}
	}
	return list
}

func checkCustom(kind schema.GroupVersionKind, document []byte) []error {
	object := map[string]any{}
	if err := yaml.UnmarshalStrict(document, &object); err != nil {
		return []error{err}
	}
	var problems []error
	resource := custom[kind]
	options := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, unknown := range pruning.PruneWithOptions(runtime.DeepCopyJSON(normal(object)), resource.structural, true, options) {
		problems = append(problems, fmt.Errorf("unknown field %q", unknown))
	}
	object = normal(object)
	list := crdvalidation.ValidateCustomResource(nil, object, resource.validator)
	if resource.rules != nil {
		more, _ := resource.rules.Validate(context.Background(), nil, resource.structural, object, nil, celconfig.RuntimeCELCostBudget)
		list = append(list, more...)
	}
	return append(problems, errors(list)...)
}

// normal has whole numbers as int64, as the server does.
func normal(object map[string]any) map[string]any {
	var convert func(any) any
	convert = func(value any) any {
		switch v := value.(type) {
		case map[string]any:
			for key := range v {
				v[key] = convert(v[key])
			}
		case []any:
			for i := range v {
				v[i] = convert(v[i])
			}
		case float64:
			if v == float64(int64(v)) {
				return int64(v)
			}
		}
		return value
	}
	return convert(object).(map[string]any)
}

func errors(list field.ErrorList) []error {
	var problems []error
	for _, problem := range list {
		problems = append(problems, problem)
	}
	return problems
}

func readCRDs(folder string) {
	files, _ := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if len(files) == 0 {
		fail("%s holds no CRDs", folder)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			fail("%v", err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, crd); err != nil {
			fail("%s: %v", file, err)
		}
		for _, version := range crd.Spec.Versions {
			kind := schema.GroupVersionKind{Group: crd.Spec.Group, Version: version.Name, Kind: crd.Spec.Names.Kind}
			custom[kind] = readVersion(file, &version)
		}
	}
}

func readVersion(file string, version *apiextensionsv1.CustomResourceDefinitionVersion) *customResource {
	internal := &apiextensions.CustomResourceValidation{}
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(version.Schema, internal, nil); err != nil {
		fail("%s: %v", file, err)
	}
	structural, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		fail("%s: %v", file, err)
	}
	validator, _, err := crdvalidation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		fail("%s: %v", file, err)
	}
	return &customResource{structural, validator, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
}
