package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/plugin"
)

// line is one log line in the form of log/slog's text handler, which is not used:
// it reads /etc/localtime at each start, and is 0.1 MB of a plugin that is started
// for every pod.
type line struct {
	level plugin.LogLevel
	text  []byte
}

func newLine(level plugin.LogLevel, message string) line {
	l := line{level: level, text: []byte("time=" + time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"))}
	l.add("level", strings.ToUpper(string(level)))
	l.add("msg", message)
	return l
}

// add appends one pair, unless there is nothing to say. A value that somebody else
// wrote cannot end the line, nor look like another pair.
func (l *line) add(key, value string) {
	if value == "" {
		return
	}
	odd := func(c rune) bool {
		return c == ' ' || c == '"' || c == '=' || !unicode.IsPrint(c) || c == unicode.ReplacementChar
	}
	if strings.ContainsFunc(value, odd) {
		value = strconv.Quote(value)
	}
	l.text = append(l.text, " "+key+"="+value...)
}

// write sends the line to stderr and, where the configuration says so, to a file as
// well. A log that cannot be written is no reason to fail a pod, nor to keep one waiting.
func (l *line) write(o plugin.Options) {
	levels := []plugin.LogLevel{plugin.LogDebug, plugin.LogInfo, plugin.LogWarn, plugin.LogError}
	if slices.Index(levels, l.level) < slices.Index(levels, o.LogLevel) {
		return
	}
	text := append(l.text, '\n')
	// Not os.Stderr: where nobody reads it any more, its Write ends the process.
	_, _ = unix.Write(unix.Stderr, text) // see above
	if o.LogFile == "" {
		return
	}
	// O_APPEND: many plugins write at once, each its line in one write. O_NONBLOCK: a
	// pipe that nobody reads would keep us for ever.
	fd, err := unix.Open(o.LogFile, unix.O_APPEND|unix.O_CREAT|unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_, _ = unix.Write(fd, text) // see above
}

// logVerb writes the one line of a verb.
func logVerb(name, id, ifName string, o plugin.Outcome, err error, took time.Duration) {
	l := newLine(levelOf(name, o, err), summary(name, o, err))
	l.add("verb", name)
	l.add("pod", o.Pod.String())
	l.add("container", id)
	l.add("ifname", ifName)
	l.add("why", o.Decision.Why)
	l.add("backend", string(o.Backend))
	l.add("rules", string(o.Change))
	if o.Removed {
		l.add("rules", "removed")
	}
	for _, w := range o.Warnings {
		l.add("note", w)
	}
	if err != nil {
		l.add("error", err.Error())
	}
	l.add("traceparent", os.Getenv("TRACEPARENT"))
	l.add("took", took.Round(time.Microsecond).String())
	l.write(o.Conf.Options)
}

func levelOf(name string, o plugin.Outcome, err error) plugin.LogLevel {
	switch {
	case err != nil:
		return plugin.LogError
	case len(o.Warnings) > 0:
		return plugin.LogWarn
	case name == "STATUS":
		return plugin.LogDebug // every five seconds, for ever
	}
	return plugin.LogInfo
}

// summary is what came out, in a word or three.
func summary(name string, o plugin.Outcome, err error) string {
	switch {
	case err != nil:
		return "failed"
	case name == "STATUS":
		return "ready"
	case name == "GC":
		return "nothing to collect"
	case name == "DEL" && o.Removed:
		return "no longer redirected"
	case name == "DEL":
		return "nothing to remove"
	case !o.Decision.Redirect:
		return "left alone"
	case name == "CHECK":
		return "rules intact"
	}
	return "redirected"
}
