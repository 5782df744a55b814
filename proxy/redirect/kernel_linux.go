package redirect

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
)

// ours names the table.
func ours() *nftables.Table {
	return &nftables.Table{Name: Table, Family: nftables.TableFamilyINet}
}

// inPlace is what the kernel has of our table.
type inPlace struct {
	table  *nftables.Table // nil: none
	chains []*nftables.Chain
	rules  map[string][]kernelRule // by chain
	sets   []*nftables.Set         // none are ours
}

// withKernel opens the kernel's rules for f.
func withKernel(f func(*nftables.Conn) error) error {
	// The kernel acknowledges each rule of a batch before it is read from.
	buffers := func(c *netlink.Conn) error {
		const size = 16 << 20 // some 10,000 rules
		return errors.Join(c.SetReadBuffer(size), c.SetWriteBuffer(size))
	}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(buffers))
	if err != nil {
		return explained("opening the kernel's rules", err)
	}
	return errors.Join(f(conn), conn.CloseLasting())
}

// explained adds what to do about the kernel's answer.
func explained(doing string, err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: %w", doing, ErrPrivilege)
	case errors.Is(err, syscall.EPROTONOSUPPORT), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EOPNOTSUPP):
		return fmt.Errorf("%s: %w; this kernel may lack nf_tables, or be older than 5.2: load it (modprobe nf_tables), or use a kernel built with CONFIG_NF_TABLES_INET and CONFIG_NFT_NAT", doing, err)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%s: %w; this kernel may lack a part of nf_tables: load nft_chain_nat, nft_nat, nft_reject_inet, and nft_socket for cgroups (modprobe NAME; cgroups need a kernel from 5.13)", doing, err)
	}
	return fmt.Errorf("%s: %w; try again, and look for what the kernel says about it (dmesg)", doing, err)
}

// read gives what is in place.
func read(conn *nftables.Conn) (*inPlace, error) {
	const doing = "reading the kernel's rules"
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, explained(doing, err)
	}
	p := &inPlace{}
	i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == Table })
	if i < 0 {
		return p, nil
	}
	p.table = tables[i]
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, explained(doing, err)
	}
	for _, c := range chains {
		if c.Table.Name != Table {
			continue
		}
		p.chains = append(p.chains, c)
	}
	if p.rules, err = rulesOf(Table); err != nil {
		return nil, explained(doing, err)
	}
	if p.sets, err = conn.GetSets(ours()); err != nil {
		return nil, explained(doing, err)
	}
	return p, nil
}

// Apply has the kernel's rules be these, in one step that no packet sees the
// middle of, and reports whether that changed anything. Rules that are in place
// already are left alone.
func Apply(r *Rules) (changed bool, err error) {
	err = withKernel(func(conn *nftables.Conn) error {
		have, err := read(conn)
		if err != nil {
			return err
		}
		if len(r.compare(have)) == 0 {
			return nil
		}
		changed = true
		r.replace(conn, have)
		if err := conn.Flush(); err != nil {
			return explained("installing the rules", err)
		}
		return nil
	})
	return changed && err == nil, err
}

// replace queues what turns one state into the other, in one batch. Chains that are as they
// should be are kept and their rules exchanged, since a packet may be on its way
// to a chain while it is exchanged for another.
func (r *Rules) replace(conn *nftables.Conn, have *inPlace) {
	table := ours()
	conn.AddTable(table)
	if !r.fits(have) {
		conn.DelTable(table)
		conn.AddTable(table)
		have = &inPlace{}
	}
	for _, c := range have.chains {
		conn.FlushChain(&nftables.Chain{Name: c.Name, Table: table})
	}
	for _, s := range have.sets {
		conn.DelSet(&nftables.Set{Name: s.Name, Table: table})
	}
	for _, c := range slices.Backward(r.chains) { // as the text has them
		conn.AddChain(c.kernel(table))
	}
	for _, c := range r.chains {
		for _, rule := range c.rules {
			conn.AddRule(&nftables.Rule{Table: table, Chain: &nftables.Chain{Name: c.name, Table: table}, Exprs: rule.exprs, UserData: comment(rule.comment)})
		}
	}
	for _, c := range have.chains {
		if r.chain(c.Name) < 0 {
			conn.DelChain(&nftables.Chain{Name: c.Name, Table: table})
		}
	}
}

// fits reports whether each chain that is there and stays is of the right kind.
func (r *Rules) fits(have *inPlace) bool {
	if have.table == nil || have.table.Flags != 0 {
		return false
	}
	for _, c := range have.chains {
		if i := r.chain(c.Name); i >= 0 && !r.chains[i].is(c) {
			return false
		}
	}
	return true
}

func (r *Rules) chain(name string) int {
	return slices.IndexFunc(r.chains, func(c chain) bool { return c.name == name })
}

func (c chain) kernel(table *nftables.Table) *nftables.Chain {
	k := &nftables.Chain{Name: c.name, Table: table}
	if c.hook != nil {
		policy := nftables.ChainPolicyAccept
		k.Type, k.Hooknum, k.Priority, k.Policy = c.kind, c.hook, &c.order, &policy
	}
	return k
}

// is reports whether the kernel's chain is hooked where this one is.
func (c chain) is(k *nftables.Chain) bool {
	if c.hook == nil {
		return k.Hooknum == nil
	}
	return k.Hooknum != nil && *k.Hooknum == *c.hook && k.Priority != nil && *k.Priority == c.order &&
		k.Type == c.kind && k.Policy != nil && *k.Policy == nftables.ChainPolicyAccept
}

// comment writes a rule's comment as nft does, with its NUL.
func comment(text string) []byte {
	if text == "" {
		return nil
	}
	return userdata.AppendString(nil, userdata.TypeComment, text)
}

// Remove takes away all that Apply has installed, and reports whether there was
// anything.
func Remove() (removed bool, err error) {
	err = withKernel(func(conn *nftables.Conn) error {
		have, err := read(conn)
		if err != nil || have.table == nil {
			return err
		}
		removed = true
		conn.DelTable(ours())
		err = conn.Flush()
		if errors.Is(err, syscall.ENOENT) { // another was faster
			return nil
		}
		if err != nil {
			return explained("removing the rules", err)
		}
		return nil
	})
	return removed && err == nil, err
}
