package plugin

import (
	"errors"
	"strings"
	"unicode"

	"github.com/containernetworking/cni/pkg/types"
)

// The CNI error codes of detour. Those below 100 are the specification's
// (CNI 1.1.0, section "Error"), the others our own.
const (
	CodeEnvironment  uint = types.ErrInvalidEnvironmentVariables // 4
	CodeDecode       uint = types.ErrDecodingFailure             // 6: not JSON
	CodeConfig       uint = types.ErrInvalidNetworkConfig        // 7
	CodeNamespace    uint = 8                                    // the netns is the host's own, or none
	CodeUnavailable  uint = types.ErrPluginNotAvailable          // 50: STATUS, cannot serve ADD
	CodeCommit       uint = 100                                  // the kernel, or a tool, refused the rules or CHECK's look at them
	CodeDrift        uint = 101                                  // CHECK found a difference
	CodeAnnotation   uint = 102                                  // an annotation cannot be used
	CodeNoAnnotation uint = 103                                  // the runtime handed over no annotations
)

// coded is an error that knows its code. It becomes a types.Error once, at the
// boundary, so that %w and errors.Is work everywhere before.
type coded struct {
	code uint
	error
}

func (c coded) Unwrap() error { return c.error }

func withCode(code uint, err error) error {
	if err == nil {
		return nil
	}
	return coded{code, err}
}

// CNIError gives an error as CNI prints it, with its code: one line, whatever
// the configuration's keys and values hold.
func CNIError(err error) *types.Error {
	code := types.ErrInternal
	if c, ok := errors.AsType[coded](err); ok {
		code = c.code
	}
	return types.NewError(code, strings.Map(printable, err.Error()), "")
}

func printable(c rune) rune {
	switch {
	case unicode.IsSpace(c):
		return ' '
	case unicode.IsControl(c):
		return unicode.ReplacementChar
	}
	return c
}
