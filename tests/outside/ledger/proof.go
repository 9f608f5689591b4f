package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// checkProof checks the inclusion proofs and notes of a proof file, and that its checkpoints are roots of the ledgers
// that were given too.
func checkProof(r *report, path string, trees map[string]*tree) {
	name := filepath.Base(path)
	var proof struct {
		Type       string
		Statements []struct {
			Envelope  *string
			Entry     *string
			TlogProof *string `json:"tlog_proof"`
		}
		Anchors []string
	}
	known := vkeys{}
	var seen []checkpoint
	r.check(name+": inclusion proofs", func() (string, error) {
		bytes, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(bytes, &proof); err != nil {
			return "", err
		}
		if proof.Type != "custodia/proof/v1" || len(proof.Statements) == 0 {
			return "", errors.New("no proof with statements")
		}
		for _, statement := range proof.Statements {
			if statement.Envelope != nil {
				if err := known.addCard([]byte(*statement.Envelope)); err != nil {
					return "", err
				}
			}
		}
		for i, statement := range proof.Statements {
			if statement.TlogProof == nil {
				continue
			}
			var entry []byte
			switch {
			case statement.Envelope != nil:
				entry = entryOf([]byte(*statement.Envelope))
			case statement.Entry != nil:
				entry = []byte(*statement.Entry)
			default:
				return "", fmt.Errorf("statement %d has neither envelope nor entry", i)
			}
			c, err := checkTlogProof(known, *statement.TlogProof, entry)
			if err != nil {
				return "", fmt.Errorf("statement %d: %w", i, err)
			}
			seen = append(seen, c)
		}
		return fmt.Sprintf("%d of %d statements", len(seen), len(proof.Statements)), nil
	})
	r.check(name+": anchors", func() (string, error) {
		for i, anchor := range proof.Anchors {
			c, err := known.open([]byte(anchor))
			if err != nil {
				return "", fmt.Errorf("anchor %d: %w", i, err)
			}
			seen = append(seen, c)
		}
		return fmt.Sprintf("%d notes", len(proof.Anchors)), nil
	})
	r.check(name+": checkpoints are those of the ledgers given", func() (string, error) {
		compared := 0
		for _, c := range seen {
			t := trees[c.origin]
			if t == nil {
				continue
			}
			root, err := t.root(c.size)
			if err != nil {
				return "", err
			}
			if root != c.root {
				return "", fmt.Errorf("%s at size %d: %v in the proof, %v in the ledger", c.origin, c.size, c.root, root)
			}
			compared++
		}
		if len(trees) > 0 && compared == 0 {
			return "", errors.New("no checkpoint of a ledger that was given")
		}
		return fmt.Sprintf("%d checkpoints", compared), nil
	})
}

// checkTlogProof follows C2SP tlog-proof: header, index, hashes, blank line, checkpoint note.
func checkTlogProof(known vkeys, text string, entry []byte) (checkpoint, error) {
	var none checkpoint
	head, rest, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		return none, errors.New("no tlog-proof")
	}
	index, err := decimal(strings.TrimPrefix(lines[1], "index "))
	if err != nil {
		return none, err
	}
	var hashes tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return none, err
		}
		hashes = append(hashes, hash)
	}
	c, err := known.open([]byte(rest))
	if err != nil {
		return none, err
	}
	return c, tlog.CheckRecord(hashes, c.size, c.root, index, tlog.RecordHash(entry))
}
