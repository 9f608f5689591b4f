// Command ledger checks Custodia's ledgers and proofs with golang.org/x/mod/sumdb, the code behind Go's own checksum
// database. It shares nothing with Custodia but the published formats.
//
//	ledger [-home DIR]... [-proof FILE]...
//
// It prints "ok NAME" or "FAILED NAME: WHY" for every check and exits 1 if one failed or none ran.
package main

import (
	"flag"
	"fmt"
	"os"
)

// list collects a flag that may be given more than once.
type list []string

func (l *list) String() string     { return fmt.Sprint(*l) }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// report counts what was checked.
type report struct{ passed, failed int }

// check runs one named check; what it returns is said behind the name.
func (r *report) check(name string, run func() (string, error)) {
	said, err := run()
	if err != nil {
		r.failed++
		fmt.Printf("FAILED %s: %v\n", name, err)
		return
	}
	r.passed++
	fmt.Printf("ok %s (%s)\n", name, said)
}

func main() {
	var homes, proofs list
	flag.Var(&homes, "home", "a node's home")
	flag.Var(&proofs, "proof", "a proof file")
	flag.Parse()
	r := &report{}
	trees := map[string]*tree{}
	for _, home := range homes {
		checkHome(r, home, trees)
	}
	for _, proof := range proofs {
		checkProof(r, proof, trees)
	}
	if r.failed > 0 || r.passed == 0 || flag.NArg() > 0 {
		os.Exit(1)
	}
}
