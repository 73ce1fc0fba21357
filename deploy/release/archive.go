package main

import (
	"archive/tar"
	"compress/gzip"
	"os"
	"time"
)

// file is one of an archive.
type file struct {
	name, from string
	mode       int64
}

// pack writes an archive whose bytes follow from the files' contents, order and
// modes, and from that time.
func pack(archive, folder string, files []file, at time.Time) (err error) {
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	zipped, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	packed := tar.NewWriter(zipped)
	for _, f := range files {
		content, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		header := tar.Header{Name: folder + "/" + f.name, Mode: f.mode, Size: int64(len(content)), ModTime: at, Format: tar.FormatUSTAR}
		if err := packed.WriteHeader(&header); err != nil {
			return err
		}
		if _, err := packed.Write(content); err != nil {
			return err
		}
	}
	if err := packed.Close(); err != nil {
		return err
	}
	return zipped.Close()
}
