package install

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// dress gives a new file the mode, owner and extended attributes of another, mostly the one that it
// is to replace; 0644 if there is none.
func dress(f *os.File, like string) error {
	if like == "" {
		return f.Chmod(0o644)
	}
	var old, now unix.Stat_t
	if err := errors.Join(unix.Stat(like, &old), unix.Fstat(int(f.Fd()), &now)); err != nil {
		return err
	}
	if old.Uid != now.Uid || old.Gid != now.Gid {
		// Without CAP_CHOWN this is EPERM: then the file stays as it is.
		if err := f.Chown(int(old.Uid), int(old.Gid)); err != nil {
			return fmt.Errorf("keep owner %d:%d: %w", old.Uid, old.Gid, err)
		}
	}
	if err := unix.Fchmod(int(f.Fd()), old.Mode&0o7777); err != nil { // after chown, which takes setuid away
		return err
	}
	return keepXattrs(f, like)
}

// keepXattrs copies the extended attributes, ACLs among them. One that cannot be set, and
// is not the same already (SELinux' is given by the directory), is an error.
func keepXattrs(f *os.File, like string) error {
	names, err := xattrNames(like)
	if err != nil {
		return err
	}
	for _, name := range names {
		want, err := xattr(func(b []byte) (int, error) { return unix.Getxattr(like, name, b) })
		if err != nil {
			return fmt.Errorf("extended attribute %s: %w", name, err)
		}
		if have, err := xattr(func(b []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), name, b) }); err == nil && bytes.Equal(have, want) {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, want, 0); err != nil {
			return fmt.Errorf("keep extended attribute %s: %w", name, err)
		}
	}
	return nil
}

func xattrNames(path string) ([]string, error) {
	list, err := xattr(func(b []byte) (int, error) { return unix.Listxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) || len(list) == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00"), err
}

// xattr calls get for the size, and then for the value.
func xattr(get func([]byte) (int, error)) ([]byte, error) {
	size, err := get(nil)
	if err != nil || size == 0 {
		return nil, err
	}
	value := make([]byte, size)
	n, err := get(value)
	if err != nil {
		return nil, err
	}
	return value[:n], nil
}
