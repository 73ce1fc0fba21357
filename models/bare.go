package models

// Bare is an encoder under the names that its modules have in transformers' class
// without a head, as adapters write them that were trained on that: "encoder.layer.0…"
// for "bert.encoder.layer.0…". A model of another kind is itself.
func Bare(m Model) Model {
	if e, ok := m.(*encoder); ok {
		return &bareEncoder{e}
	}
	return m
}

type bareEncoder struct{ *encoder }

// Sites implements Model.
func (m *bareEncoder) Sites() Sites { return m.bare }
