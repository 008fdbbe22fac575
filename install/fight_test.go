package install

import (
	"testing"
	"time"
)

func TestAFightIsWhatIsAnsweredAtOnce(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	var slow Fight
	for range 100 { // a writer with reasons of its own
		if pause := slow.Repair(at); pause != 0 {
			t.Fatalf("a writer once a second is left alone for %v", pause)
		}
		at = at.Add(time.Second)
	}
	var f Fight
	var pauses []time.Duration
	for len(pauses) < 9 {
		if pause := f.Repair(at); pause > 0 {
			pauses = append(pauses, pause)
			at = at.Add(pause)
		}
		at = at.Add(20 * time.Millisecond)
	}
	if pauses[0] != firstPause || pauses[1] != 2*firstPause || pauses[8] != longestPause {
		t.Errorf("pauses %v", pauses)
	}
	at = at.Add(2 * longestPause)
	for i := range fightAnswers {
		if pause := f.Repair(at); pause != 0 {
			t.Errorf("an old fight is not forgotten: repair %d is followed by a pause of %v", i, pause)
		}
	}
	at = at.Add(-time.Hour)
	if pause := f.Repair(at); pause != 0 {
		t.Errorf("a clock set back makes a fight: %v", pause)
	}
}
