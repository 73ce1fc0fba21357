// Package hub fetches models and adapters from the Hugging Face hub, named as
// hf://owner/name[@revision][:file], into the cache that the Python libraries
// share (huggingface_hub, "Understand caching").
//
// A Hub's Fetch asks which commit a revision stands for and which files it
// has, brings the ones a model needs that the cache lacks, and returns a
// Snapshot: a folder to open. A transfer that is cut is resumed where it
// stopped, by a later process or by Python too; a file takes its name only
// after its length and its digest were found right, so nothing cut short is
// ever seen. Processes that want the same file wait for one another.
//
// Whatever goes wrong names the repository, the revision and the file, and
// says what to do about it.
package hub
