package plan

import "github.com/peft-serve/peft-serve/models"

// shaped is the base of a model without weights.
func shaped(m models.Model) *Base {
	bare := m
	task := models.Classify
	if own := m.Config().Classes; own != nil {
		task = own.Task
	}
	if !m.Config().Architecture.Does(models.Generate) {
		if headed, err := models.WithHead(m, task); err == nil {
			m = headed
		}
	}
	b := &Base{model: m, shape: bare, config: *m.Config(), sites: m.Sites(), task: task}
	b.count()
	return b
}

// count counts the parameters.
func (b *Base) count() {
	b.parameters = 0
	for _, dims := range b.tensors() {
		b.parameters += count(dims)
	}
	b.config.Parameters = b.parameters
}
