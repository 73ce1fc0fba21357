package adapters

import "github.com/peft-serve/peft-serve/models"

// bias reads which biases a LoRA brings.
func (s *settings) bias() string {
	bias := s.text("bias", "none")
	if s.null("bias") || bias != "none" && bias != "all" && bias != "lora_only" {
		s.fault(ErrConfig, "bias is %s, want none, all or lora_only", s.config.value("bias"))
	}
	return bias
}

// ownBiases declares the biases that a LoRA of bias=all or bias=lora_only
// brings in the base's place: "<m>.base_layer.bias" of an adapted module and
// "<m>.bias" of any other. PEFT before 0.20.1 lost those of lora_only when
// saving (peft#3306): such a file misses tensors and is refused.
func (b *Builder) ownBiases(bias string, adapted map[int]bool) error {
	if bias == "none" {
		return nil
	}
	for site, s := range b.Sites {
		switch {
		case b.wholly(site) || bias == "lora_only" && !adapted[site]:
		case s.Kind == models.LinearSite && len(s.Linear.Bias) > 0:
			suffix := ".bias"
			if adapted[site] {
				suffix = ".base_layer.bias"
			}
			b.linear(site).own = b.standIn(site, suffix, s.Linear.Bias)
		case s.Kind == models.NormSite && len(s.Norm.Bias) > 0:
			b.norm(site).bias = b.standIn(site, ".bias", s.Norm.Bias)
		}
	}
	return nil
}

// wholly reports whether modules_to_save brings the site.
func (b *Builder) wholly(site int) bool {
	if d := b.linears[site]; d != nil && d.weight != nil && !d.weight.optional {
		return true
	}
	return b.norms[site] != nil
}
