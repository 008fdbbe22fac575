package install

import "time"

const (
	// fightRepairs within fightWindow are a fight: a writer that answers each of our
	// repairs, as Cilium's exclusive mode does. An upgrade of a primary writes two or
	// three times.
	fightRepairs = 5
	fightWindow  = 20 * time.Second
	// firstPause and longestPause bound how long a fight is left alone. Pods that start
	// meanwhile are not redirected in splice mode, so it is seconds at first.
	firstPause   = 5 * time.Second
	longestPause = 5 * time.Minute
)

// A Fight counts repairs, and says when to leave the other writer alone for a while
// instead of going round in circles with it. The zero value has seen none.
type Fight struct {
	repairs []time.Time
	pause   time.Duration
	until   time.Time
}

// Repair notes one, and gives how long to wait before the next: 0 for no fight.
func (f *Fight) Repair(now time.Time) time.Duration {
	if !f.until.IsZero() && now.Sub(f.until) > longestPause {
		*f = Fight{} // it kept quiet for long: forgotten
	}
	recent := f.repairs[:0]
	for _, at := range f.repairs {
		if d := now.Sub(at); d >= 0 && d < fightWindow { // a clock set back counts nothing
			recent = append(recent, at)
		}
	}
	f.repairs = append(recent, now)
	// After a pause one repair is enough to know that it goes on.
	if len(f.repairs) < fightRepairs && f.pause == 0 {
		return 0
	}
	f.pause = min(max(2*f.pause, firstPause), longestPause)
	f.until = now.Add(f.pause)
	f.repairs = f.repairs[:0]
	return f.pause
}

// On reports whether there is a fight now: a pause, or shortly after one.
func (f *Fight) On(now time.Time) bool {
	return !f.until.IsZero() && now.Before(f.until.Add(fightWindow))
}
