package training

// Account is memory by category, in bytes, as the lecture counts it.
type Account struct {
	Model       int `json:"model"`
	Gradients   int `json:"gradients"`
	Optimizer   int `json:"optimizer"`
	Activations int `json:"activations"`
}

// Total is the sum of the categories.
func (a Account) Total() int { return a.Model + a.Gradients + a.Optimizer + a.Activations }

// Account measures the memory in use. Activations are the peak so far.
func (t *Trainer) Account() Account {
	_, peak := t.pass.Live()
	a := Account{Model: t.Model.Config().WeightBytes, Optimizer: t.Optimizer.Bytes(), Activations: peak.Total()}
	for _, p := range t.Method.Parameters() {
		a.Gradients += 4 * len(p.Grad)
	}
	switch m := t.Method.(type) {
	case *Blocks:
		a.Model += m.base.widened()
	case *Adapted:
		a.Model += m.bytes()
	}
	return a
}
