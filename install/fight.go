package install

import "time"

const (
	// answer is how soon a repair that was undone has been answered: who watches the directory
	// needs milliseconds. A writer with reasons of its own, be it once a second, is repaired
	// each time, since pods that start meanwhile would slip past.
	answer = 500 * time.Millisecond
	// fightAnswers in a row are a fight, as with Cilium's exclusive mode. An upgrade of a
	// primary writes two or three times.
	fightAnswers = 4
	// firstPause and longestPause bound how long a fight is left alone. Pods that start
	// meanwhile are not redirected in splice mode, so it is seconds at first.
	firstPause   = 5 * time.Second
	longestPause = 5 * time.Minute
)

// A Fight counts repairs that are undone at once, and says when to leave the other writer alone
// for a while instead of going round in circles with it. The zero value has seen none.
type Fight struct {
	last    time.Time // the end of the last repair
	answers int       // repairs in a row, each right after the one before
	pause   time.Duration
	until   time.Time // the end of the last pause
}

// Repair notes one that lasted from began to now, and gives how long to wait before the next: 0 for
// no fight. How long it lasted is ours and not the other's: a disk that syncs for seconds, or a
// runtime that is slow to say what it is, makes no writer with reasons of its own.
func (f *Fight) Repair(began, now time.Time) time.Duration {
	if !f.until.IsZero() && now.Sub(f.until) > longestPause {
		*f = Fight{} // it kept quiet for long: forgotten
	}
	if d := began.Sub(f.last); d >= 0 && d < answer { // a clock set back counts nothing
		f.answers++
	} else {
		f.answers = 0
	}
	f.last = now
	// After a pause one answer is enough to know that it goes on.
	if f.answers < fightAnswers && (f.pause == 0 || f.answers == 0) {
		return 0
	}
	f.pause = min(max(2*f.pause, firstPause), longestPause)
	f.until = now.Add(f.pause)
	f.answers = 0
	return f.pause
}

// Contested reports whether the last repair may yet be answered as those before it were.
func (f *Fight) Contested(now time.Time) bool { return f.pause > 0 && now.Sub(f.last) < answer }
