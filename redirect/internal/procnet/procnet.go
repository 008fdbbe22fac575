// Package procnet reads the files of /proc/net as the current thread's network
// namespace has them.
package procnet

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Read reads /proc/thread-self/net/NAME whole. Plain system calls do: os.ReadFile
// would register the file with the runtime's poller, which it then has to start.
// /proc/net, without thread-self, is the namespace of the process's first thread.
func Read(name string) ([]byte, error) {
	path := "/proc/thread-self/net/" + name
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 1024) // a dozen addresses
	for {
		if len(text) == cap(text) {
			text = append(text, make([]byte, len(text))...)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return text, nil
		}
		text = text[:len(text)+n]
	}
}
