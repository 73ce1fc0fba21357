module github.com/peft-serve/peft-serve

go 1.26.0

require (
	github.com/ardanlabs/jinja v1.5.0 // indirect
	github.com/dlclark/regexp2/v2 v2.12.0 // indirect
	github.com/edsrzf/mmap-go v1.2.0 // indirect
	golang.org/x/sys v0.43.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)
