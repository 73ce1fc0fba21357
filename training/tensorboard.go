package training

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// events writes a TensorBoard event file: TFRecords of Event messages
// (tensorflow/core/util/event.proto), of which scalars need four fields.
type events struct{ f disk.File }

// openEvents starts an event file in dir/tensorboard. A resumed run adds
// another, which TensorBoard reads as the continuation.
func openEvents(dir string, step int) (*events, error) {
	dir = filepath.Join(dir, "tensorboard")
	if step == 0 {
		old, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
		if err != nil {
			return nil, err
		}
		for _, name := range old {
			if err := disk.Remove(name); err != nil {
				return nil, err
			}
		}
	}
	if err := disk.MkdirAll(dir); err != nil {
		return nil, err
	}
	now := time.Now()
	f, _, err := disk.CreateTemp(dir, "events.out.tfevents."+now.Format("20060102150405")+".*.peft-train")
	if err != nil {
		return nil, err
	}
	e := &events{f}
	first := appendDouble(nil, 1, seconds(now))
	first = appendBytes(first, 3, []byte("brain.Event:2"))
	if err := errors.Join(e.record(first), disk.Sync(dir)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return e, nil
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// write adds the scalars of a report.
func (e *events) write(r StepReport) error {
	scalars := map[string]float64{}
	if r.Validation == nil {
		scalars["train/loss"], scalars["train/grad_norm"], scalars["train/tokens_per_second"] = r.Loss, r.Norm, r.Speed
		for name, v := range r.Rates {
			scalars["learning_rate/"+name] = v
		}
		if r.Bytes != nil {
			scalars["bytes/activations"], scalars["bytes/total"] = float64(r.Bytes.Activations), float64(r.Bytes.Total())
		}
	}
	for name, v := range r.Validation {
		scalars["validation/"+name] = v
	}
	var summary []byte
	for name, v := range scalars {
		value := appendBytes(nil, 1, []byte(strings.ReplaceAll(name, " ", "_")))
		value = append(value, 2<<3|5)
		value = binary.LittleEndian.AppendUint32(value, math.Float32bits(float32(v)))
		summary = appendBytes(summary, 1, value)
	}
	event := appendDouble(nil, 1, seconds(time.Now()))
	event = append(event, 2<<3)
	event = binary.AppendUvarint(event, uint64(r.Step))
	return e.record(appendBytes(event, 5, summary))
}

func appendDouble(b []byte, field byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, field<<3|1), math.Float64bits(v))
}

func appendBytes(b []byte, field byte, v []byte) []byte {
	b = binary.AppendUvarint(append(b, field<<3|2), uint64(len(v)))
	return append(b, v...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum of TFRecord files.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// record writes length, its checksum, the bytes and theirs.
func (e *events) record(b []byte) error {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(b)))
	out = binary.LittleEndian.AppendUint32(out, masked(out))
	out = append(out, b...)
	out = binary.LittleEndian.AppendUint32(out, masked(b))
	_, err := e.f.Write(out)
	return err
}
