// Package s3 finds adapters in S3-compatible stores, named as
// s3://bucket/prefix[@sha256:digest]: the objects below the prefix are the files
// of an adapter's folder, as `aws s3 cp --recursive` or rclone lay them there.
// The digest is the adapter's own, as X-Adapter-Digest says it.
//
// Requests are signed by the AWS SDK's signer (Signature Version 4); two are all
// that is asked of a store, ListObjectsV2 and GetObject.
package s3
