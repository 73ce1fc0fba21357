package kernels

import (
	"testing"
	"time"
)

func TestMeasurePeak(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	each(t, func(t *testing.T) {
		peak := p.MeasurePeak(20 * time.Millisecond)
		if (peak.GFLOPS > 0) != (active.peak != nil) || (peak.GBps > 0) != (active.peak != nil) {
			t.Errorf("%+v", peak)
		}
		t.Logf("%.0f GFLOP/s, %.1f GB/s", peak.GFLOPS, peak.GBps)
	})
}
