package inspect

import (
	_ "embed"
	"fmt"
	"html/template"
	"strings"
	"unicode/utf8"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
)

// The picture: a column for each actor, a lane for each way. A packet starts at its sender,
// meets a hook, and is bent or not; where it would have gone is dashed.
const (
	appAt, proxyAt, wireAt = 390, 740, 1090
	gateAway               = 150 // from its sender to the hook
	laneHeight             = 82
	firstLane              = 150
	pictureWidth           = 1200
)

//go:embed picture.css
var pictureCSS string

//go:embed page.css
var pageCSS string

//go:embed page.html
var pageHTML string

//go:embed picture.svg
var pictureSVG string

// drawn is a lane as the template wants it.
type drawn struct {
	Y, StartX                   int
	Title, Packet, Label, Hover string
	Trail                       string
	Link                        string
	Gate                        string
	GateX                       int
	Line, Head, Ghost           string // SVG paths
	Class                       string // bent, passed or lost
}

// column is an actor's: a box, and a line below it.
type column struct {
	Actor          Actor
	Under          string
	X, Left, Width int
}

type picture struct {
	Name, Summary         string
	Columns               []column
	Width, Height, Bottom int
	Lanes                 []drawn
	CSS                   template.CSS
	Page                  bool
}

func (r Report) picture(page bool) picture {
	p := picture{Name: r.Name, Width: pictureWidth, CSS: template.CSS(pictureCSS), Page: page}
	for _, c := range []column{{Actor: App, Under: "any other user", Width: 130}, {Actor: Proxy, Under: r.whoIsProxy(), Width: 170}, {Actor: Wire, Under: r.Seen.Uplink, Width: 130}} {
		c.X = at(c.Actor)
		c.Left = c.X - c.Width/2
		p.Columns = append(p.Columns, c)
	}
	var said []string
	for i, l := range r.lanes() {
		d := l.draw(firstLane + i*laneHeight)
		if r.slips(l.Way) {
			d.Class, d.Label = "lost", "slips past the proxy"
		}
		p.Lanes = append(p.Lanes, d)
		said = append(said, fmt.Sprintf("%s: %s.", l.Title, l.Where()))
	}
	p.Summary = strings.Join(said, " ")
	p.Height = firstLane + len(p.Lanes)*laneHeight
	p.Bottom = p.Height - 20
	return p
}

// whoIsProxy is the process that takes what is bent, else the user that the rules spare.
func (r Report) whoIsProxy() string {
	proxy, ok := r.Seen.Proxy()
	if !ok {
		return "not seen"
	}
	who := fmt.Sprintf("uid %d", proxy.UID)
	for _, w := range r.Ways {
		if w.Ends == Proxy && w.Listener != nil {
			who = w.Listener.Owner()
		}
	}
	return who
}

func at(a Actor) int {
	return map[Actor]int{App: appAt, Proxy: proxyAt, Wire: wireAt}[a]
}

func (l lane) draw(y int) drawn {
	from, meant := at(l.From), at(l.Meant)
	toward := 1
	if l.From == Wire || l.From == Proxy && l.Meant == App {
		toward = -1
	}
	d := drawn{Y: y, StartX: from, Title: l.Title, Gate: string(l.Packet.Hook), GateX: from + toward*gateAway, Class: "passed", Hover: l.hover(), Trail: shorten(l.Trail()), Link: l.anchor()}
	d.Packet = fmt.Sprintf("%s to %s, %s", strings.ToUpper(l.Packet.Proto.String()), l.Packet.Dst, l.Families)
	switch l.Ends {
	case Nobody:
		d.Class = "lost"
		d.Line = fmt.Sprintf("M%d %d H%d", from, y, d.GateX-toward*58)
		d.Label = l.Where()
		return d
	case l.Meant:
		d.Label = "untouched"
	default:
		d.Class = "bent"
		d.Label = fmt.Sprintf("→ :%d", l.At.Port())
	}
	if l.Outcome.Verdict != redirect.Passed && l.Ends == l.Meant {
		d.Class, d.Label = "bent", fmt.Sprintf("→ :%d", l.At.Port())
	}
	if l.Count.Counted {
		d.Label += fmt.Sprintf(" · %d packet%s", l.Count.Packets, map[bool]string{false: "s"}[l.Count.Packets == 1])
	}
	if l.At.IsValid() && l.Listener == nil && d.Class == "bent" {
		d.Class = "lost"
		d.Label += " · nobody listens"
	}
	d.Line, d.Head = path(from, d.GateX, at(l.Ends), y, toward)
	if l.Ends != l.Meant {
		start := at(l.Ends)
		if meant == from {
			start = d.GateX
		}
		d.Ghost, _ = path(start, start, meant, y, toward)
	}
	return d
}

// hover is the rule that decides, and its reason.
func (w Way) hover() string {
	if w.Decided == nil {
		return w.Reason()
	}
	return fmt.Sprintf("%s: %s, then %s. %s", w.Trail(), words.Match(w.Decided.Rule.Match), words.Target(w.Decided.Rule.Target), w.Decided.Rule.Why)
}

// longestTrail is what fits beside the pod, in characters.
const longestTrail = 46

// shorten leaves the end of a trail: the rule.
func shorten(trail string) string {
	for utf8.RuneCountInString(trail) > longestTrail {
		_, rest, more := strings.Cut(strings.TrimPrefix(trail, "… › "), " › ")
		if !more {
			break
		}
		trail = "… › " + rest
	}
	return trail
}

// path is straight, or a bow where the packet comes back to where it was sent from; head is
// the point of the arrow.
func path(from, gate, to, y, toward int) (line, head string) {
	if back := (to-gate)*toward < 0; back {
		end := to + toward*9
		line = fmt.Sprintf("M%d %d H%d C%d %d %d %d %d %d", from, y, gate+toward*40, gate+toward*110, y+2, gate+toward*60, y+27, end, y+20)
		return line, arrowhead(end, y+20, -toward)
	}
	end := to - toward*9
	return fmt.Sprintf("M%d %d H%d", from, y, end), arrowhead(end, y, toward)
}

func arrowhead(x, y, toward int) string {
	return fmt.Sprintf("M%d %d l0 -12 l%d 6 l0 0 z", x-toward*3, y+6, toward*12)
}

// anchor is the row of the rule that decided, in the page.
func (w Way) anchor() string {
	if w.Decided == nil {
		return ""
	}
	return anchor(w.Decided.Scope, w.Decided.Chain, w.Decided.Index)
}

func anchor(scope, chain string, index int) string {
	return strings.ReplaceAll(fmt.Sprintf("rule %s %s %d", scope, chain, index+1), " ", "-")
}

// SVG draws the report; the picture stands alone.
func SVG(r Report) (string, error) {
	t, err := template.New("svg").Parse(pictureSVG)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, r.picture(false))
	return words.Text(b.String()), err
}

// HTML is one page with the picture, the rules and the sockets. It loads nothing.
func HTML(r Report) (string, error) {
	t := template.New("page").Funcs(template.FuncMap{
		"match": words.Match, "target": words.Target, "packets": packets, "hangs": hangs, "anchor": anchor, "from1": func(i int) int { return i + 1 },
	})
	if _, err := t.New("svg").Parse(pictureSVG); err != nil {
		return "", err
	}
	if _, err := t.Parse(pageHTML); err != nil {
		return "", err
	}
	var b strings.Builder
	err := t.Execute(&b, struct {
		Report
		Picture picture
		CSS     template.CSS
	}{r, r.picture(true), template.CSS(pageCSS)})
	return words.Text(b.String()), err
}

// Places of a lane's parts, for the template.

// Top is the upper edge of what can be clicked.
func (d drawn) Top() int { return d.Y - 36 }

// TitleY is the title's line.
func (d drawn) TitleY() int { return d.Y - 4 }

// PacketY is the packet's line.
func (d drawn) PacketY() int { return d.Y + 15 }

// TrailY is the chains' line.
func (d drawn) TrailY() int { return d.Y + 31 }

// GateLeft is the left edge of the hook's pill.
func (d drawn) GateLeft() int { return d.GateX - 52 }

// GateTop is its upper edge.
func (d drawn) GateTop() int { return d.Y - 12 }

// GateText is its text's line.
func (d drawn) GateText() int { return d.Y + 4 }

// LabelX is where the label's middle is: over the hook.
func (d drawn) LabelX() int { return d.GateX }

// LabelY is the label's line.
func (d drawn) LabelY() int { return d.Y - 19 }
