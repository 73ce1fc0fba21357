package sample

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// The interval is that of the sign test, as its tables have it: of 10 the second to the
// ninth, of 30 the tenth to the twenty-first.
func TestInterval(t *testing.T) {
	for n, want := range map[int][]float64{5: nil, 6: {1, 6}, 8: {1, 8}, 9: {2, 8}, 10: {2, 9}, 20: {6, 15}, 30: {10, 21}, 100: {40, 61}} {
		v := make([]float64, n)
		for i := range v {
			v[i] = float64((i*7)%n + 1) // in no order
		}
		if n%7 == 0 {
			t.Fatal("7 divides it")
		}
		require.Equal(t, want, Interval(v), n)
	}
	for n := 1; n <= 2000; n++ {
		if n > 100 && n%100 > 0 {
			continue
		}
		bound := new(big.Int).Lsh(big.NewInt(1), uint(n)) // 2ⁿ, of which 1/40 is 2.5 %
		beyond, k := new(big.Int), int64(0)
		for ; ; k++ {
			beyond.Add(beyond, new(big.Int).Binomial(int64(n), k))
			if new(big.Int).Mul(beyond, big.NewInt(40)).Cmp(bound) > 0 {
				break
			}
		}
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(i + 1)
		}
		var want []float64
		if k > 0 {
			want = []float64{float64(k), float64(int64(n) - k + 1)}
		}
		require.Equal(t, want, Interval(v), n)
	}
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, Median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, Median([]float64{4, 1, 3, 2}))
}
