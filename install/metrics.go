package install

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// Watched is the Observer of a running installer: it logs what changed on the node, counts,
// and knows whether the node is ready.
type Watched struct {
	Log *slog.Logger
	// Node's Dialects and Cache are for the pods that slipped past.
	Node  Node
	Cache string

	mu      sync.Mutex
	last    Report
	lastErr error
	said    string // of the last run that failed
	known   known
	done    Report // of the last run that did what it says
	joined  bool   // since the first run that went well
	paused  bool   // in a fight

	unloaded string // what was said of the runtime's memory

	// verdicts on the attachments, by File, and why there are none. WatchSlipped's own.
	verdicts map[string]verdict
	unread   string

	runs     *prometheus.CounterVec
	repairs  *prometheus.CounterVec
	fights   prometheus.Counter
	slipped  prometheus.Counter
	inChain  prometheus.Gauge
	drift    *prometheus.GaugeVec
	slipping prometheus.Gauge
	success  prometheus.Gauge
}

// NewWatched registers its metrics with r.
func NewWatched(n Node, cache string, log *slog.Logger, r prometheus.Registerer) *Watched {
	w := &Watched{
		Log: log, Node: n, Cache: cache, known: known{again: make(chan struct{}, 1)},
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "detour_install_runs_total",
			Help: "Looks at the node, by result: changed, unchanged, waiting (no primary yet), failed."}, []string{"result"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "detour_repairs_total",
			Help: "What somebody else undid and was put right, by what: entry, binary."}, []string{"what"}),
		fights: prometheus.NewCounter(prometheus.CounterOpts{Name: "detour_fights_total",
			Help: "Times that repairs were left alone for a while, because another writer answers each."}),
		slipped: prometheus.NewCounter(prometheus.CounterOpts{Name: "detour_slipped_pods_total",
			Help: "Meshed pods that started while the chain was without us, those that were there when this process started included. They run without a redirect until they are restarted."}),
		slipping: prometheus.NewGauge(prometheus.GaugeOpts{Name: "detour_slipped_pods",
			Help: "Those of them that still run on this node."}),
		inChain: prometheus.NewGauge(prometheus.GaugeOpts{Name: "detour_in_chain",
			Help: "1 if what the runtime will load contains us, and the binary can serve it."}),
		drift: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "detour_drift",
			Help: "What is not as wanted on the node now, 0 for nothing, by what: entry, binary, config (a file of options that cannot be used)."}, []string{"what"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{Name: "detour_last_success_timestamp_seconds",
			Help: "When the node was last found, or put, right: seconds since 1970."}),
	}
	r.MustRegister(w.runs, w.repairs, w.fights, w.slipped, w.slipping, w.inChain, w.drift, w.success)
	w.drifted(driftEntry, false)
	w.drifted(driftBinary, false)
	w.drifted(driftConfig, false)
	return w
}

// Ran implements Observer.
func (w *Watched) Ran(r Report, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// What other options than before change, or another runtime, nobody else undid.
	repair := w.joined && bytes.Equal(r.Entry.Text, w.done.Entry.Text) && r.Plan.Mode == w.done.Plan.Mode
	said, before := r.failure(err), w.said
	again := said == before
	w.said = said
	w.lastErr = err
	if errors.Is(err, unix.EWOULDBLOCK) { // another of us has the lock: nothing was looked at, what was known stays
		w.runs.WithLabelValues("failed").Inc()
		if !again {
			w.Log.Error("not looked at", "why", err)
		}
		return
	}
	w.logWarnings(r)
	w.last = r
	w.known.learn(r, Did(err))
	if Did(err) && r.Plan.Network != "" {
		w.done = r
	}
	// The first repair after a pause is most likely undone at once: it does not end the fight.
	w.paused = w.paused && (err != nil || r.Changed() || r.Contested)
	switch {
	case errors.Is(err, ErrNoPrimary):
		w.runs.WithLabelValues("waiting").Inc()
		if !again {
			w.Log.Warn("waiting for the network plugin of the cluster", "why", err)
		}
	case err != nil:
		w.runs.WithLabelValues("failed").Inc()
		if !again { // each second the same: once is enough
			w.Log.Error(r.failed(err), "why", err)
		}
		w.logLeft(r, err)
	case r.Changed():
		w.runs.WithLabelValues("changed").Inc()
		w.logChange(r, repair)
	default:
		w.runs.WithLabelValues("unchanged").Inc()
		if !w.joined || before != "" { // else the last that was said would be that nothing is well, or nothing at all
			w.Log.Info("in the chain, as wanted", "file", r.Plan.Joined, "mode", string(r.Plan.Mode), "network", r.Plan.Network, "primary", r.Plan.Primary, "why", r.Plan.Why)
		}
	}
	_, badConfig := errors.AsType[ConfigError](err)
	w.drifted(driftConfig, badConfig)
	w.drifted(driftBinary, r.Binary != "" && r.binary() != BinaryCurrent)
	if badConfig {
		w.ranOnWithThatOfBefore(r, err, repair)
		return
	}
	asWanted := r.Stands && r.Plan.Joined != "" && len(r.Plan.Steps) == 0
	w.drifted(driftEntry, err != nil && !asWanted)
	if err != nil {
		w.inChain.Set(gauge(r.serves()))
		return
	}
	w.joined = true
	w.inChain.Set(1)
	w.success.SetToCurrentTime()
}

// ranOnWithThatOfBefore is the part of Ran for a bad Config.
func (w *Watched) ranOnWithThatOfBefore(r Report, err error, repair bool) {
	w.joined = w.joined || r.Stands
	w.inChain.Set(gauge(r.Stands && (Did(err) || r.serves())))
	w.drifted(driftEntry, !r.Stands || !Did(err) || errors.Is(err, ErrNoPrimary))
	if Did(err) && r.Changed() {
		w.logChange(r, repair)
	}
}

// RanOnce logs what a run did, be it with a bad Config, of which the caller says the error.
func (w *Watched) RanOnce(r Report, err error) {
	w.logWarnings(r)
	w.logLeft(r, err)
	if Did(err) && r.Changed() {
		w.logChange(r, false)
	}
}

// The values of detour_drift's label.
const (
	driftEntry  = "entry"
	driftBinary = "binary"
	driftConfig = "config"
)

func (w *Watched) drifted(what string, yes bool) { w.drift.WithLabelValues(what).Set(gauge(yes)) }

func gauge(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// failure tells one failure from another, whatever the name of a temporary file was; "" is none.
func (r Report) failure(err error) string {
	if err == nil {
		return ""
	}
	return r.failed(err) + ": " + tempName.ReplaceAllString(err.Error(), tempPattern)
}

// failed says in a few words how a run that failed left the node.
func (r Report) failed(err error) string {
	if _, badConfig := errors.AsType[ConfigError](err); badConfig && r.Stands && Did(err) {
		return "options that cannot be used: the node goes on with those of before"
	}
	if r.serves() {
		return "not put right: the node goes on with what is there"
	}
	return "not installed"
}

// serves reports whether a run that failed has left an entry and a binary for it.
func (r Report) serves() bool {
	return r.Stands && (r.binary() == BinaryCurrent && !r.Refused || r.binary() == BinaryOther)
}

func (w *Watched) logWarnings(r Report) {
	for _, warning := range r.Plan.Warnings {
		if !slices.Contains(w.last.Plan.Warnings, warning) {
			w.Log.Warn(warning)
		}
	}
}

func (w *Watched) logLeft(r Report, err error) {
	if _, left := errors.AsType[VersionError](err); !left {
		return
	}
	for _, s := range r.Plan.Steps {
		w.Log.Error("left the chain", "file", s.Path, "what", s.What(), "mode", string(r.Plan.Mode), "network", r.Plan.Network)
	}
}

func (w *Watched) logChange(r Report, repair bool) {
	say, verb := w.Log.Info, "installed"
	if repair {
		say, verb = w.Log.Warn, "repaired"
	}
	if r.Binary != BinaryCurrent {
		say(verb+" the binary", "was", string(r.Binary), "dir", w.Node.BinDir)
		if repair {
			w.repairs.WithLabelValues("binary").Inc()
		}
	}
	for _, s := range r.Plan.Steps {
		say(verb, "file", s.Path, "found", s.Found(), "what", s.What(), "mode", string(r.Plan.Mode), "network", r.Plan.Network, "primary", r.Plan.Primary, "why", r.Plan.Why)
		if repair {
			w.repairs.WithLabelValues("entry").Inc()
		}
		if repair && s.Unseen && s.Was == nil {
			w.Log.Warn("meshed pods that started while the drop-in was gone run without a redirect, and nothing here can name them: detour doctor looks into each")
		}
	}
}

// Fighting implements Observer.
func (w *Watched) Fighting(r Report, pause time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = true
	w.fights.Inc()
	other := len(r.Plan.Steps) == 0 && r.Binary == BinaryOther // that of another release serves
	w.inChain.Set(gauge(other && (w.lastErr == nil || r.Stands)))
	w.drifted(driftEntry, len(r.Plan.Steps) > 0)
	w.drifted(driftBinary, r.Binary != BinaryCurrent)
	w.Log.Error("another writer undoes every repair: left alone for a while", "pause", pause, "file", r.Plan.Joined, "primary", r.Plan.Primary, "wayOut", r.wayOut())
}

// wayOut says how to end a fight.
func (r Report) wayOut() string {
	if len(r.Plan.Steps) == 0 {
		return "somebody else writes the binary, mostly another release of detour with the same bin dir: give both the same version, or each a bin dir of its own"
	}
	for _, s := range r.Plan.Steps {
		if s.Was == nil && r.Plan.Mode == Owned {
			return "a list of ours is removed or renamed, as Cilium's exclusive mode does: set cni.exclusive=false there, or mode drop-in here"
		}
	}
	return "find who writes this file (Cilium: cni.exclusive=false); mode drop-in is out of such a writer's way where the runtime has it (containerd >= 2.1, CRI-O >= 1.33)"
}

// Ready is nil when what the runtime will load contains us, and what it has loaded where it
// tells that; else the reason why not.
func (w *Watched) Ready() error {
	network, err := w.ready()
	if err != nil {
		return err
	}
	err = w.Node.Loaded(network)
	w.sayLoaded(err)
	return err
}

// sayLoaded logs it when a runtime has not loaded us, and when it has since: kubelet's event of a
// probe that failed has no word of the answer.
func (w *Watched) sayLoaded(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.unloaded
	w.unloaded = ""
	if err != nil {
		w.unloaded = err.Error()
	}
	switch {
	case w.unloaded == said:
	case err != nil:
		w.Log.Error("not loaded", "why", err)
	default:
		w.Log.Info("ready again: the runtime has loaded us, or does not answer")
	}
}

// ready is what our own files say, and the network that they are about.
func (w *Watched) ready() (network string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.lastErr != nil:
		return "", w.lastErr
	case !w.joined:
		return "", errors.New("not installed yet")
	case w.paused:
		return "", errors.New("another writer undoes every repair")
	}
	return w.last.Plan.Network, nil
}
