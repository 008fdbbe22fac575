package main

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuantileLiesBetweenNeighbours(t *testing.T) {
	for _, tc := range []struct {
		values  []float64
		q, want float64
	}{
		{values: []float64{7}, q: 0.5, want: 7},
		{values: []float64{3, 1, 2}, q: 0.5, want: 2},
		{values: []float64{4, 1, 3, 2}, q: 0.5, want: 2.5},
		{values: []float64{1, 2, 3, 4, 5}, q: 0.25, want: 2},
		{values: []float64{1, 2}, q: 1, want: 2},
	} {
		if got := quantile(tc.values, tc.q); math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("quantile(%v, %v) = %v, want %v", tc.values, tc.q, got, tc.want)
		}
	}
}

func TestRestoreTextBecomesOneCallARule(t *testing.T) {
	got, err := callsOf("*nat\n:A - [0:0]\n-A A -p tcp -m comment --comment \"why, so\" -j RETURN\n-I OUTPUT 1 -j A\nCOMMIT\n", true)
	if err != nil {
		t.Fatal(err)
	}
	want := []ruleCall{
		{IPv6: true, Table: "nat", Chain: "A"},
		{IPv6: true, Table: "nat", Chain: "A", Rule: []string{"-p", "tcp", "-m", "comment", "--comment", "why, so", "-j", "RETURN"}},
		{IPv6: true, Table: "nat", Chain: "OUTPUT", Rule: []string{"-j", "A"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRatioIntervalHoldsTheRatio(t *testing.T) {
	beside := []float64{10, 11, 9, 10, 30, 10}
	twice := []float64{20, 22, 18, 20, 20, 21}
	got := ratioOf(twice, beside)
	if got.value != 2 {
		t.Errorf("ratio = %v, want 2", got.value)
	}
	if got.low > got.value || got.high < got.value {
		t.Errorf("interval %v-%v does not hold %v", got.low, got.high, got.value)
	}
}
