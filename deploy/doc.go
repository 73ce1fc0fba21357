// Package deploy holds no code: its tests render the chart with Helm's own
// library and decode every manifest of this folder strictly, against the types
// of Kubernetes and the schemas that the projects' modules carry.
//
// It is a module of its own, so that nothing of these reaches the binaries.
package deploy
