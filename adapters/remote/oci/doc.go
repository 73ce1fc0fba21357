// Package oci pushes adapters to OCI registries and finds them there, named as
// oci://registry/repository:tag or …@sha256:digest.
//
// An adapter is an image manifest whose artifactType is ArtifactType, with an
// empty configuration and a layer for each file, as it is, under the annotation
// org.opencontainers.image.title: `oras pull` writes the same folder. The
// manifest's annotations say which bases the adapter is for. What `oras push`
// has made of a folder's files is read too.
//
// Of hosts, loopback ones are reached by HTTP, as Docker does, and those that the
// operator names; all others by HTTPS.
package oci
