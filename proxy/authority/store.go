package authority

import (
	"container/list"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"
)

// store is certmagic's storage in memory: leaves' keys are never on disk. It
// keeps a bounded number of folders, one for each name, and forgets the one
// written longest ago whole. It is safe for concurrent use.
type store struct {
	limit int // folders; 0: any number

	mu      sync.Mutex // guards all below
	folders map[string]*list.Element
	oldest  *list.List               // of *folder, by the time of writing
	locks   map[string]chan struct{} // closed when given up
	closed  bool
	idle    sync.WaitGroup // locks held
}

type folder struct {
	path  string
	files map[string][]byte // by full key
}

func newStore(limit int) *store {
	return &store{
		limit:   limit,
		folders: make(map[string]*list.Element),
		oldest:  list.New(),
		locks:   make(map[string]chan struct{}),
	}
}

var errClosed = errors.New("authority: closed")

// close lets nobody lock any more and waits for those who have: a renewal under
// way ends first.
func (s *store) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.idle.Wait()
}

// Lock implements certmagic.Locker.
func (s *store) Lock(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		held, ok := s.locks[name]
		if s.closed {
			s.mu.Unlock()
			return errClosed
		}
		if !ok {
			s.locks[name] = make(chan struct{})
			s.idle.Add(1)
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock implements certmagic.Locker.
func (s *store) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.locks[name]
	if !ok {
		return errors.New("authority: unlocking what is not locked")
	}
	close(held)
	delete(s.locks, name)
	s.idle.Done()
	return nil
}

// Store implements certmagic.Storage.
func (s *store) Store(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := path.Dir(key)
	element, ok := s.folders[dir]
	if !ok {
		element = s.oldest.PushBack(&folder{path: dir, files: make(map[string][]byte)})
		s.folders[dir] = element
	}
	s.oldest.MoveToBack(element)
	element.Value.(*folder).files[key] = value
	if s.limit > 0 && len(s.folders) > s.limit {
		s.removeLocked(s.oldest.Front())
	}
	return nil
}

func (s *store) removeLocked(element *list.Element) {
	delete(s.folders, s.oldest.Remove(element).(*folder).path)
}

// Load implements certmagic.Storage.
func (s *store) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if element, ok := s.folders[path.Dir(key)]; ok {
		if value, ok := element.Value.(*folder).files[key]; ok {
			return value, nil
		}
	}
	return nil, fs.ErrNotExist
}

// Delete implements certmagic.Storage.
func (s *store) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir, element := range s.folders {
		f := element.Value.(*folder)
		for name := range f.files {
			if isUnder(name, key) {
				delete(f.files, name)
			}
		}
		if len(f.files) == 0 || isUnder(dir, key) {
			s.removeLocked(element)
		}
	}
	return nil
}

// isUnder says whether key is prefix or below it.
func isUnder(key, prefix string) bool {
	rest, ok := strings.CutPrefix(key, prefix)
	return ok && (prefix == "" || rest == "" || rest[0] == '/')
}

// Exists implements certmagic.Storage.
func (s *store) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// List implements certmagic.Storage.
func (s *store) List(_ context.Context, prefix string, recursive bool) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]bool)
	for _, element := range s.folders {
		for key := range element.Value.(*folder).files {
			for key != prefix && isUnder(key, prefix) {
				found[key] = true
				if key = path.Dir(key); key == "." {
					break
				}
			}
		}
	}
	var keys []string
	for key := range found {
		if parent := path.Dir(key); recursive || parent == prefix || (parent == "." && prefix == "") {
			keys = append(keys, key)
		}
	}
	if keys == nil {
		return nil, fs.ErrNotExist
	}
	return keys, nil
}

// Stat implements certmagic.Storage.
func (s *store) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	if value, err := s.Load(ctx, key); err == nil {
		return certmagic.KeyInfo{Key: key, Size: int64(len(value)), IsTerminal: true}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir := range s.folders {
		if isUnder(dir, key) {
			return certmagic.KeyInfo{Key: key}, nil
		}
	}
	return certmagic.KeyInfo{}, fs.ErrNotExist
}
