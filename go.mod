module github.com/peft-serve/peft-serve

go 1.26
