package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// GPT-2's byte alphabet: every byte has one printable character, so that a
// vocabulary of byte strings can be written as text. Printable Latin-1 bytes
// stand for themselves, the other 68 take U+0100 onwards in order.
var (
	byteToRune [256]rune
	runeToByte [0x144]int16 // -1: not in the alphabet
)

func init() {
	for i := range runeToByte {
		runeToByte[i] = -1
	}
	next := rune(0x100)
	for b := range 256 {
		r := rune(b)
		if b <= ' ' || b >= 0x7f && b <= 0xa0 || b == 0xad {
			r = next
			next++
		}
		byteToRune[b] = r
		runeToByte[r] = int16(b)
	}
}

// alphabetBytes returns the bytes that piece spells in the byte alphabet; ok
// is false if piece holds a character outside it.
func alphabetBytes(piece string) (raw string, ok bool) {
	var b strings.Builder
	b.Grow(len(piece))
	for _, r := range piece {
		if int(r) >= len(runeToByte) || runeToByte[r] < 0 {
			return "", false
		}
		b.WriteByte(byte(runeToByte[r]))
	}
	return b.String(), true
}

// spellBytes is the inverse of alphabetBytes.
func spellBytes(raw string) string {
	b := make([]byte, 0, 2*len(raw))
	for i := range len(raw) {
		b = utf8.AppendRune(b, byteToRune[raw[i]])
	}
	return string(b)
}

// fallbackByte returns the byte that a byte-fallback piece such as "<0x0A>"
// stands for.
func fallbackByte(piece string) (b byte, ok bool) {
	if len(piece) != 6 || piece[:3] != "<0x" || piece[5] != '>' {
		return 0, false
	}
	hi, lo := strings.IndexByte(hexDigits, piece[3]), strings.IndexByte(hexDigits, piece[4])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}

const hexDigits = "0123456789ABCDEF"

// fallbackPiece is the inverse of fallbackByte.
func fallbackPiece(b byte) string {
	return "<0x" + hexDigits[b>>4:b>>4+1] + hexDigits[b&15:b&15+1] + ">"
}
