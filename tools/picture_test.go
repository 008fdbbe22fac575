//go:build picture

package tools

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// contrast gives the worst ratio of an ink on a ground of the picture (WCAG 2.1, 1.4.3: at least 4.5).
const contrast = `(() => {
  const style = getComputedStyle(document.querySelector("svg.detour"));
  const light = name => {
    let hex = style.getPropertyValue(name).trim().slice(1);
    if (hex.length === 3) hex = [...hex].map(c => c + c).join("");
    const [r, g, b] = [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16) / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return Math.min(...["--ink", "--dim", "--bent", "--passed", "--lost"].flatMap(ink => ["--paper", "--pod"].map(ground => ratio(light(ink), light(ground)))));
})()`

// TestPictureInABrowser opens each page that make test-picture wrote, as a person would.
func TestPictureInABrowser(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(os.Getenv("DETOUR_PICTURES"), "*.html"))
	if err != nil || len(pages) != 5 {
		t.Fatalf("%v: %d pages, want 5", err, len(pages))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1280, 1400))...)
	defer stop()
	for _, page := range pages {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".html"), func(t *testing.T) {
			ctx, stop := chromedp.NewContext(allocator)
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			chromedp.ListenTarget(ctx, func(event any) {
				switch event := event.(type) {
				case *runtime.EventConsoleAPICalled, *runtime.EventExceptionThrown:
					t.Errorf("the console has %+v", event)
				case *log.EventEntryAdded:
					t.Errorf("the log has %s", event.Entry.Text)
				}
			})
			look(t, ctx, page)
		})
	}
}

// value is an AXValue of Chromium's.
type value struct {
	Value any `json:"value"`
}

func look(t *testing.T, ctx context.Context, page string) {
	t.Helper()
	var (
		shot []byte
		ways int
		wide bool
		tree struct {
			Nodes []struct {
				Ignored bool  `json:"ignored"`
				Role    value `json:"role"`
				Name    value `json:"name"`
			} `json:"nodes"`
		}
	)
	err := chromedp.Run(ctx, log.Enable(), runtime.Enable(), chromedp.Navigate("file://"+page),
		chromedp.Evaluate(`document.querySelectorAll("svg a").length`, &ways),
		chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth`, &wide),
		chromedp.ActionFunc(func(ctx context.Context) error { // the library's own types lag behind Chromium's
			return cdp.Execute(ctx, "Accessibility.getFullAXTree", nil, &tree)
		}),
		chromedp.FullScreenshot(&shot, 100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strings.TrimSuffix(page, ".html")+".png", shot, 0o644); err != nil {
		t.Fatal(err)
	}
	if ways < 3 || wide {
		t.Errorf("%d ways lead to a rule, scrolls sideways: %v", ways, wide)
	}
	named := 0
	for _, n := range tree.Nodes {
		switch n.Role.Value {
		case "link", "heading", "region", "RootWebArea":
			if n.Ignored {
				continue
			}
			named++
			if name, _ := n.Name.Value.(string); name == "" {
				t.Errorf("a %s has no name", n.Role.Value)
			}
		}
	}
	if named < 6 {
		t.Errorf("the accessibility tree has %d links, headings and regions", named)
	}
	keyboard(t, ctx)
	media(t, ctx)
}

// keyboard walks to the first way and follows it to its rule.
func keyboard(t *testing.T, ctx context.Context) {
	t.Helper()
	var label, target string
	err := chromedp.Run(ctx, chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(`document.activeElement.getAttribute("aria-label")`, &label),
		chromedp.KeyEvent(kb.Enter), chromedp.WaitReady("tr:target"), chromedp.Evaluate(`document.querySelector("tr:target").id`, &target))
	if err != nil || !strings.HasPrefix(label, "the app calls out") || !strings.HasPrefix(target, "rule-") {
		t.Errorf("Tab and Enter: %v: %q leads to %q", err, label, target)
	}
}

// media asks for enough contrast by day, at night and on paper.
func media(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, m := range []struct{ media, scheme string }{{"screen", "light"}, {"screen", "dark"}, {"print", "light"}} {
		var worst float64
		err := chromedp.Run(ctx, emulation.SetEmulatedMedia().WithMedia(m.media).WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: m.scheme}}),
			chromedp.Evaluate(contrast, &worst))
		if err != nil || worst < 4.5 {
			t.Errorf("%s, %s: %v: the worst contrast is %.2f, want 4.5", m.media, m.scheme, err, worst)
		}
	}
}
