package main

import (
	"math/rand/v2"
	"slices"
)

// quantile gives the q-quantile of values (0 the least, 1 the greatest), between
// two neighbours in proportion. NaN-free input of at least one value.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low == len(sorted)-1 {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// ratio is median over median, with the interval that holds it in 95 of 100
// resamples of the pairs.
type ratio struct{ value, low, high float64 }

// resamples is how often pairs are drawn anew: enough for the second digit after the point.
const resamples = 1000

// ratioOf compares values with what was measured right beside each of them.
func ratioOf(values, beside []float64) ratio {
	draw := rand.New(rand.NewPCG(1, 2)) // the same data gives the same interval
	ratios := make([]float64, resamples)
	a, b := make([]float64, len(values)), make([]float64, len(values))
	for i := range ratios {
		for j := range a {
			k := draw.IntN(len(values))
			a[j], b[j] = values[k], beside[k]
		}
		ratios[i] = median(a) / median(b)
	}
	return ratio{
		value: median(values) / median(beside),
		low:   quantile(ratios, 0.025),
		high:  quantile(ratios, 0.975),
	}
}
