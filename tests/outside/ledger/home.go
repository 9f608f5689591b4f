package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is that of C2SP tlog-tiles: 256 hashes a tile.
const tileHeight = 8

// bundlePath is that of an entry bundle, which x/mod lays out in another way.
var bundlePath = regexp.MustCompile(`^tile/entries/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?$`)

// tree is a ledger rebuilt from its entries alone.
type tree struct {
	origin  string
	entries [][]byte
	hashes  memory
}

// memory holds stored hashes in the order of tlog.StoredHashIndex.
type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(m)) {
			return nil, fmt.Errorf("stored hash %d is beyond the tree", index)
		}
		out[i] = m[index]
	}
	return out, nil
}

func (t *tree) root(size int64) (tlog.Hash, error) {
	if size > int64(len(t.entries)) {
		return tlog.Hash{}, fmt.Errorf("size %d is beyond the %d entries", size, len(t.entries))
	}
	return tlog.TreeHash(size, t.hashes)
}

// rebuild hashes the entries from the first on.
func rebuild(origin string, entries [][]byte) (*tree, error) {
	t := &tree{origin: origin, entries: entries}
	for i, entry := range entries {
		more, err := tlog.StoredHashes(int64(i), entry, t.hashes)
		if err != nil {
			return nil, err
		}
		t.hashes = append(t.hashes, more...)
	}
	return t, nil
}

// tileFiles reads the tiles of a ledger folder as C2SP names them: without the height in the path.
type tileFiles struct{ folder string }

func (f tileFiles) Height() int                     { return tileHeight }
func (f tileFiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (f tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(f.folder, c2spPath(tile)))
		if err != nil {
			return nil, err
		}
		out[i] = data
	}
	return out, nil
}

func c2spPath(tile tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight))
}

// checkHome checks everything under HOME/ledger, and that each entry is the commitment of a file of the home.
func checkHome(r *report, home string, trees map[string]*tree) {
	name := filepath.Base(home)
	ledger := filepath.Join(home, "ledger")
	known := vkeys{}
	var head checkpoint
	var t *tree

	r.check(name+": checkpoint signature", func() (string, error) {
		if err := filepath.WalkDir(filepath.Join(home, "statements"), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			envelope, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return known.addCard(envelope)
		}); err != nil {
			return "", err
		}
		text, err := os.ReadFile(filepath.Join(ledger, "checkpoint"))
		if err != nil {
			return "", err
		}
		head, err = known.open(text)
		return fmt.Sprintf("%s at size %d", head.origin, head.size), err
	})
	if head.size == 0 {
		r.check(name+": entries", func() (string, error) { return "", errors.New("no signed checkpoint with entries") })
		return
	}
	r.check(name+": root computed from the entries", func() (string, error) {
		entries, err := readEntries(ledger, head.size)
		if err != nil {
			return "", err
		}
		if t, err = rebuild(head.origin, entries); err != nil {
			return "", err
		}
		root, err := t.root(head.size)
		if err == nil && root != head.root {
			err = fmt.Errorf("entries give %v, the checkpoint says %v", root, head.root)
		}
		return root.String(), err
	})
	if t == nil {
		return
	}
	trees[head.origin] = t
	r.check(name+": layout of tiles and bundles", func() (string, error) { return checkLayout(ledger, head.size, t) })
	r.check(name+": inclusion of each entry by the tiles", func() (string, error) { return checkInclusion(ledger, head, t) })
	r.check(name+": consistency between sizes", func() (string, error) { return checkConsistency(ledger, head, t) })
	r.check(name+": every entry commits to a file", func() (string, error) { return checkCommitments(home, t) })
}

// readEntries reads the bundles of a tree of this size.
func readEntries(ledger string, size int64) ([][]byte, error) {
	var out [][]byte
	for n := int64(0); n*256 < size; n++ {
		width := size - n*256
		if width > 256 {
			width = 256
		}
		path := strings.Replace(c2spPath(tlog.Tile{H: tileHeight, L: 0, N: n, W: int(width)}), "tile/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(ledger, path))
		if err != nil {
			return nil, err
		}
		entries, err := splitBundle(data)
		if err != nil || int64(len(entries)) != width {
			return nil, fmt.Errorf("%s: %d entries, not %d (%v)", path, len(entries), width, err)
		}
		out = append(out, entries...)
	}
	return out, nil
}

// splitBundle takes a bundle apart: u16be length, entry, and so on.
func splitBundle(data []byte) ([][]byte, error) {
	var out [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, errors.New("a bundle is cut short")
		}
		length := int(binary.BigEndian.Uint16(data))
		out = append(out, data[2:2+length])
		data = data[2+length:]
	}
	return out, nil
}

// checkLayout looks at every file: it has a name of the standard and the bytes that the entries give. All that a tree
// of this size needs must be there.
func checkLayout(ledger string, size int64, t *tree) (string, error) {
	found := map[string]bool{}
	beyond := 0
	err := filepath.WalkDir(ledger, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(ledger, path)
		if err != nil || relative == "checkpoint" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found[relative] = true
		want, inside, err := expected(relative, size, t)
		if err != nil {
			return fmt.Errorf("%s: %w", relative, err)
		}
		if !inside {
			beyond++
		} else if !bytes.Equal(want, data) {
			return fmt.Errorf("%s: other bytes than the entries give", relative)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, size) {
		path := c2spPath(tile)
		if !found[path] {
			return "", fmt.Errorf("%s is missing", path)
		}
		if tile.L == 0 && !found[strings.Replace(path, "tile/0/", "tile/entries/", 1)] {
			return "", fmt.Errorf("the entries of %s are missing", path)
		}
	}
	return fmt.Sprintf("%d files, %d of them beyond the checkpoint", len(found), beyond), nil
}

// expected gives the bytes that a file of this name has, and whether it lies inside the tree.
func expected(path string, size int64, t *tree) ([]byte, bool, error) {
	bundle := bundlePath.FindStringSubmatch(path)
	if bundle != nil {
		path = strings.Replace(path, "tile/entries/", "tile/0/", 1)
	}
	tile, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/", tileHeight) + strings.TrimPrefix(path, "tile/"))
	if err != nil || c2spPath(tile) != path {
		return nil, false, errors.New("no path of tlog-tiles")
	}
	leaves := (tile.N<<tileHeight + int64(tile.W)) << uint(tile.L*tileHeight)
	if leaves > size {
		return nil, false, nil
	}
	if bundle == nil {
		data, err := tlog.ReadTileData(tile, t.hashes)
		return data, true, err
	}
	var out []byte
	for _, entry := range t.entries[tile.N<<tileHeight : leaves] {
		out = binary.BigEndian.AppendUint16(out, uint16(len(entry)))
		out = append(out, entry...)
	}
	return out, true, nil
}

// checkInclusion proves every entry by hashes that x/mod authenticates from the tiles.
func checkInclusion(ledger string, head checkpoint, t *tree) (string, error) {
	reader := tlog.TileHashReader(tlog.Tree{N: head.size, Hash: head.root}, tileFiles{ledger})
	for index, entry := range t.entries {
		proof, err := tlog.ProveRecord(head.size, int64(index), reader)
		if err != nil {
			return "", fmt.Errorf("entry %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, head.size, head.root, int64(index), tlog.RecordHash(entry)); err != nil {
			return "", fmt.Errorf("entry %d: %w", index, err)
		}
	}
	return fmt.Sprintf("%d entries", len(t.entries)), nil
}

// checkConsistency proves every size that has a partial tile, and every small size, to be a prefix of every later one.
func checkConsistency(ledger string, head checkpoint, t *tree) (string, error) {
	at := map[int64]bool{head.size: true}
	for size := int64(1); size <= head.size && size <= 64; size++ {
		at[size] = true
	}
	partials, err := filepath.Glob(filepath.Join(ledger, "tile", "0", "*.p", "*"))
	if err != nil {
		return "", err
	}
	for _, path := range partials {
		group, width, _ := strings.Cut(strings.TrimPrefix(path, filepath.Join(ledger, "tile", "0")+"/"), ".p/")
		n, err1 := strconv.ParseInt(group, 10, 64)
		w, err2 := strconv.ParseInt(width, 10, 64)
		if err1 == nil && err2 == nil && n*256+w <= head.size {
			at[n*256+w] = true
		}
	}
	var sizes []int64
	for size := range at {
		sizes = append(sizes, size)
	}
	sort.Slice(sizes, func(i, j int) bool { return sizes[i] < sizes[j] })
	pairs := 0
	for i, old := range sizes {
		oldRoot, err := t.root(old)
		if err != nil {
			return "", err
		}
		for _, size := range sizes[i+1:] {
			root, err := t.root(size)
			if err != nil {
				return "", err
			}
			proof, err := tlog.ProveTree(size, old, t.hashes)
			if err != nil {
				return "", err
			}
			if err := tlog.CheckTree(proof, size, root, old, oldRoot); err != nil {
				return "", fmt.Errorf("%d in %d: %w", old, size, err)
			}
			pairs++
		}
	}
	return fmt.Sprintf("%d sizes, %d pairs", len(sizes), pairs), nil
}

// entryOf writes the ledger entry of a document: the commitment by two digests.
func entryOf(document []byte) []byte {
	return []byte(fmt.Sprintf("custodia/entry/v1\nsha256 %x\nsha512 %x\n", sha256.Sum256(document), sha512.Sum512(document)))
}

// checkCommitments finds for each entry the statement or anchor that it commits to, and for each statement its entry.
func checkCommitments(home string, t *tree) (string, error) {
	documents := map[string]string{}
	statements := 0
	for _, shelf := range []string{"statements", "anchors"} {
		err := filepath.WalkDir(filepath.Join(home, shelf), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && shelf == "anchors" {
				return nil
			}
			if err != nil || entry.IsDir() {
				return err
			}
			document, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			digest := fmt.Sprintf("%x", sha256.Sum256(document))
			if entry.Name() != digest && entry.Name() != digest+".json" || filepath.Base(filepath.Dir(path)) != digest[:2] {
				return fmt.Errorf("%s does not lie under its digest", path)
			}
			documents[string(entryOf(document))] = path
			if shelf == "statements" {
				statements++
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	for index, entry := range t.entries {
		if documents[string(entry)] == "" {
			return "", fmt.Errorf("entry %d commits to no file of statements/ or anchors/", index)
		}
		delete(documents, string(entry))
	}
	for _, path := range documents {
		return "", fmt.Errorf("%s is in no entry", path)
	}
	return fmt.Sprintf("%d entries, %d statements", len(t.entries), statements), nil
}
