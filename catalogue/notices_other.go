//go:build !linux

package catalogue

// notices there are none of: folders are looked at.
type notices struct{}

type folder struct{}

func newNotices() *notices { return nil }

func (*notices) begin(*listing, string) bool { return false }
func (*notices) look(*listing, string) bool  { return false }
func (*notices) take() bool                  { return false }
func (*notices) still(*listing) bool         { return false }
func (*notices) close()                      {}
