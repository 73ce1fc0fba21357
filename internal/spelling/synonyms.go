package spelling

import (
	"iter"
	"slices"
	"strings"
)

// synonyms are what other trainers and servers call a setting, and what it is
// called here.
var synonyms = map[string]string{}

func init() {
	for here, others := range map[string]string{
		// trainers
		"r":                "rank lora-r lora-rank lora-dim",
		"lr":               "learning-rate max-learning-rate",
		"lora-alpha":       "alpha",
		"lora-dropout":     "dropout",
		"target-modules":   "lora-target-modules lora-target lora-modules-to-target",
		"use-rslora":       "rslora",
		"use-dora":         "dora",
		"method":           "peft-type peft-method fine-tune-type",
		"batch-size":       "per-device-train-batch-size per-device-batch-size train-batch-size micro-batch-size",
		"grad-accum":       "gradient-accumulation-steps gradient-accumulation grad-accumulation-steps",
		"epochs":           "num-train-epochs num-epochs",
		"max-steps":        "iters num-steps steps",
		"max-length":       "max-seq-length max-seq-len cutoff-len seq-length seq-len sequence-length sequence-len block-size",
		"schedule":         "lr-scheduler-type lr-scheduler lr-schedule scheduler",
		"warmup-steps":     "warmup num-warmup-steps",
		"optimizer":        "optim",
		"max-grad-norm":    "grad-clip clip-grad gradient-clipping gradient-clip-val",
		"sgd-momentum":     "momentum",
		"data":             "dataset datasets train-file train-data train-dataset data-path dataset-name",
		"validation":       "validation-file eval-file eval-data eval-dataset valid-data val-data",
		"validation-split": "val-set-size val-size test-size",
		"output":           "output-dir out-dir save-path",
		"eval-every":       "eval-steps steps-per-eval",
		"save-every":       "save-steps",
		"keep-best":        "load-best-model-at-end",
		"patience":         "early-stopping-patience",
		"resume":           "resume-from-checkpoint resume-adapter-file",
		"dtype":            "torch-dtype precision",
		"vocabulary":       "vocab-size",
		// servers
		"slots":           "max-num-seqs parallel n-parallel max-batch-size",
		"queue":           "max-queue-size max-concurrent-requests",
		"context":         "max-model-len ctx-size n-ctx max-total-tokens context-length",
		"step-tokens":     "max-num-batched-tokens max-batch-prefill-tokens ubatch-size",
		"adapters":        "lora lora-modules lora-dir adapters-dir adapter-dir",
		"adapter-budget":  "max-loras max-cpu-loras",
		"name":            "served-model-name alias model-alias",
		"addr":            "host port listen bind",
		"tls-cert":        "ssl-certfile ssl-cert-file",
		"tls-key":         "ssl-keyfile ssl-key-file",
		"tls-client-ca":   "ssl-ca-certs",
		"allow-origin":    "allowed-origins cors-allow-origin",
		"no-prefix-cache": "no-enable-prefix-caching",
		// both
		"base":    "model model-id model-path model-name model-name-or-path base-model pretrained-model-name-or-path",
		"threads": "n-threads num-threads",
	} {
		for other := range strings.FieldsSeq(others) {
			synonyms[other] = here
		}
	}
}

// Setting is the setting that an unknown one was meant to be: what others call
// it, with dashes or underscores, or else the Nearest of four letters or more.
// There may be none: "".
func Setting(unknown string, known iter.Seq[string]) string {
	unknown = strings.ReplaceAll(strings.ToLower(unknown), "_", "-")
	names := slices.Collect(known)
	if here := synonyms[unknown]; slices.Contains(names, here) {
		return here
	}
	if best := Nearest(unknown, slices.Values(names)); len(best) >= 4 {
		return best
	}
	return ""
}
