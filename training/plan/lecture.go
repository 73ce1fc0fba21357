package plan

// Lecture is the usual account of full fine-tuning, as the literature prints
// it: parameters, gradients and the optimizer's two moments in one precision,
// and activations as they were measured for one sequence of 2048 tokens. For 7
// billion parameters in 16 bit it says 14 + 14 + 28 + 2 = 58 GB (Zhao et al.,
// 2024, GaLore, section 1). It knows nothing of float32 moments, of a frozen
// base or of who keeps which activation: Trained.Account does.
type Lecture struct {
	Model, Gradients, Optimizer, Activations float64 // bytes
}

// Total is the sum.
func (l Lecture) Total() float64 { return l.Model + l.Gradients + l.Optimizer + l.Activations }

// lectureActivations is the 2 GB for LLaMA-7B's 32 blocks of width 4096 and a
// sequence of 2048 tokens, by block, column and token.
const lectureActivations = 2e9 / (32 * 4096 * 2048)

// Lecture accounts for training a number of parameters, base's own or an
// adapter's, on the base; bytesPerValue is 2 in 16 bit. The nominal size of a
// published model counts where it has one.
func (b *Base) Lecture(trained float64, bytesPerValue float64, tokens int) Lecture {
	size := b.Nominal
	if size == 0 {
		size = float64(b.parameters)
	}
	if trained == float64(b.parameters) {
		trained = size
	}
	return Lecture{
		Model: size * bytesPerValue, Gradients: trained * bytesPerValue, Optimizer: 2 * trained * bytesPerValue,
		Activations: lectureActivations * float64(b.config.Layers) * float64(b.config.Hidden) * float64(tokens),
	}
}
