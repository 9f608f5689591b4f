package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// vkeys maps a ledger's origin to the verifier keys that cards name for it.
type vkeys map[string][]string

// addCard takes the ledger keys from an envelope, if it holds a card. The card's own signature is checked by keys.py.
func (k vkeys) addCard(envelope []byte) error {
	var dsse struct {
		Payload     string `json:"payload"`
		PayloadType string `json:"payloadType"`
	}
	if err := json.Unmarshal(envelope, &dsse); err != nil {
		return err
	}
	if dsse.PayloadType != "application/vnd.custodia.card.v1+json" {
		return nil
	}
	payload, err := base64.StdEncoding.DecodeString(dsse.Payload)
	if err != nil {
		return err
	}
	var card struct {
		Body struct {
			Ledgers []struct{ Origin, Vkey string }
		}
	}
	if err := json.Unmarshal(payload, &card); err != nil {
		return err
	}
	for _, ledger := range card.Body.Ledgers {
		k[ledger.Origin] = append(k[ledger.Origin], ledger.Vkey)
	}
	return nil
}

// checkpoint is a signed note whose signature by its ledger's key was verified.
type checkpoint struct {
	origin string
	size   int64
	root   tlog.Hash
}

// open verifies a checkpoint note under the ledger key that a card names for its origin.
func (k vkeys) open(text []byte) (checkpoint, error) {
	var c checkpoint
	c.origin, _, _ = strings.Cut(string(text), "\n")
	var known []note.Verifier
	seen := map[string]bool{}
	for _, vkey := range k[c.origin] {
		if seen[vkey] {
			continue
		}
		seen[vkey] = true
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			return c, fmt.Errorf("vkey %q: %w", vkey, err)
		}
		known = append(known, verifier)
	}
	if len(known) == 0 {
		return c, fmt.Errorf("no card names a key for ledger %q", c.origin)
	}
	opened, err := note.Open(text, note.VerifierList(known...))
	if err != nil {
		return c, fmt.Errorf("checkpoint of %q: %w", c.origin, err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return c, fmt.Errorf("checkpoint of %q has %d lines, not 3", c.origin, len(lines)-1)
	}
	if c.size, err = decimal(lines[1]); err != nil {
		return c, err
	}
	if c.root, err = tlog.ParseHash(lines[2]); err != nil {
		return c, err
	}
	if opened.Sigs[0].Name != c.origin {
		return c, errors.New("the first signature line is not the ledger's")
	}
	return c, nil
}

// decimal reads a number of C2SP: no sign, no leading zero.
func decimal(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%q is no decimal", s)
	}
	return n, nil
}
