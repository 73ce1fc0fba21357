package serve

import (
	"fmt"
	"maps"
	"sync"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// llama.cpp's server numbers its adapters, and a request names them by number:
// "lora": [{"id": 0, "scale": 0.5}].

// loraNumbers numbers adapters in the order in which they are first seen, those
// of one look by name. An adapter keeps its number when others come and go.
type loraNumbers struct {
	mu      sync.Mutex
	numbers map[string]int
	names   []string // by number
}

// loraLists are the numbers by key, each of which counts those that it sees, so
// that no gap tells of others.
type loraLists struct {
	mu    sync.Mutex
	lists map[string]*loraNumbers // by the key's name
}

// of are the numbers that hold for a request.
func (l *loraLists) of(c *fiber.Ctx) *loraNumbers {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := keyName(c)
	if l.lists[key] == nil {
		if l.lists == nil {
			l.lists = map[string]*loraNumbers{}
		}
		l.lists[key] = new(loraNumbers)
	}
	return l.lists[key]
}

// keep forgets the numbers of keys that are no more.
func (l *loraLists) keep(set *keys.Set) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.lists, func(key string, _ *loraNumbers) bool { return set != nil && !set.Has(key) })
}

// see numbers adapters, which are in the order of their names.
func (l *loraNumbers) see(entries []catalogue.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		if _, ok := l.numbers[e.Name]; !ok {
			if l.numbers == nil {
				l.numbers = map[string]int{}
			}
			l.numbers[e.Name] = len(l.names)
			l.names = append(l.names, e.Name)
		}
	}
}

func (l *loraNumbers) name(number int) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number < 0 || number >= len(l.names) {
		return "", false
	}
	return l.names[number], true
}

func (l *loraNumbers) number(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.numbers[name]
}

// listLoRAs answers GET /lora-adapters. The scale is what a request without
// the field lora gives each: none.
func (s *Server) listLoRAs(c *fiber.Ctx) error {
	type numbered struct {
		ID    int     `json:"id"`
		Path  string  `json:"path"`
		Scale float64 `json:"scale"`
		Name  string  `json:"name"`
	}
	entries, loras := s.listed(c), s.loras.of(c)
	loras.see(entries)
	all := []numbered{}
	for _, e := range entries {
		if answers(e) {
			all = append(all, numbered{loras.number(e.Name), folderOf(e), 0, e.Name})
		}
	}
	return writeJSON(c, fiber.StatusOK, all)
}

// loraScale is one adapter of a request's field lora.
type loraScale struct {
	ID    *int     `json:"id"`
	Scale *float64 `json:"scale"`
}

// loraNaming returns what the field lora names. One of scale 0 is not applied, as
// in llama.cpp, nor is one that is not in the list.
func (s *Server) loraNaming(c *fiber.Ctx, scales []loraScale) (naming, error) {
	n := naming{where: "lora"}
	loras, seen := s.loras.of(c), map[int]bool{}
	for i, l := range scales {
		at := fmt.Sprintf("lora[%d]", i)
		switch {
		case l.ID == nil:
			return n, invalid(at+".id", "%s.id is missing: GET /lora-adapters lists them", at)
		case l.Scale == nil:
			return n, invalid(at+".scale", "%s.scale is missing: give a number", at)
		case seen[*l.ID]:
			return n, invalid(at+".id", "%s.id is %d for the second time: name each adapter once", at, *l.ID)
		}
		seen[*l.ID] = true
		name, ok := loras.name(*l.ID)
		if !ok {
			loras.see(s.listed(c))
			name, ok = loras.name(*l.ID)
		}
		if !ok || !callerOf(c).sees(name) { // its key may have seen more once
			return n, invalid(at+".id", "%s.id is %d, and no adapter has that number: GET /lora-adapters lists them", at, *l.ID)
		}
		if *l.Scale != 0 {
			n.parts = append(n.parts, catalogue.Part{Name: name, Weight: *l.Scale})
		}
	}
	if len(n.parts) > 0 {
		n.name = catalogue.CombinationName(n.parts)
	}
	return n, nil
}
