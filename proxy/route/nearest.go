package route

import "strings"

// Nearest gives the known word that a mistaken one was probably meant to be: the
// first of those that the fewest letters, and at most so many, make of it. Empty
// where none is near.
func Nearest(word string, letters int, known []string) string {
	best, distance := "", letters+1
	for _, k := range known {
		if d := edits(strings.ToLower(word), k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// edits counts the letters to insert, remove or replace to make b of a.
func edits(a, b string) int {
	if len(a) > 64 { // no word is that long
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
