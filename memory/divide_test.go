package memory

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestDivide(t *testing.T) {
	keys, adapters, uploads := Want{512 * mib, mib / 2}, Want{1024 * mib, mib}, Want{48 * mib, 12 * mib}
	for _, c := range []struct {
		room int64
		want []int64 // in MiB
	}{
		{1 << 62, []int64{512, 1024, 48}},
		{1584 * mib, []int64{512, 1024, 48}},
		{792 * mib, []int64{256, 512, 24}},
		{108 * mib, []int64{32, 64, 12}}, // a share of the uploads' would be less than one takes
	} {
		got := Divide(c.room, keys, adapters, uploads)
		for i := range got {
			got[i] /= mib
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d MiB: %v, want %v", c.room/mib, got, c.want)
		}
	}
	if got := Divide(-5, keys, uploads); !slices.Equal(got, []int64{mib / 2, 12 * mib}) {
		t.Errorf("without room: %v", got)
	}
	if got := Divide(5); len(got) != 0 {
		t.Error(got)
	}
}

// None gets less than its least or more than is usual, and together they keep to the
// room unless their least do not.
func TestDivideKeepsToTheRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := rapid.Int64Range(-mib, 4096*mib).Draw(t, "room")
		wants := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Want {
			usual := rapid.Int64Range(1, 2048*mib).Draw(t, "usual")
			return Want{usual, rapid.Int64Range(0, usual).Draw(t, "least")}
		}), 0, 6).Draw(t, "wants")
		var all, least int64
		for i, n := range Divide(room, wants...) {
			if n < wants[i].Least || n > wants[i].Usual {
				t.Fatalf("%d of %v", n, wants[i])
			}
			all += n
			least += wants[i].Least
		}
		if all > room && all != least {
			t.Fatalf("%d of %d", all, room)
		}
	})
}
