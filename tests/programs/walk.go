// SPDX-License-Identifier: Apache-2.0

// walk MIB: a map of byte slices, filled and checked by goroutines while others are dropped.
package main

import (
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"strconv"
	"sync"
)

const parts = 4

func fill(id, n int, sums []uint32) {
	state := uint64(id*7919 + 1)
	m := make(map[uint64][]byte, n)
	for i := 0; i < n; i++ {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		b := make([]byte, 100+state%300)
		for k := range b {
			b[k] = byte(state >> (uint(k) % 8 * 8))
		}
		m[uint64(i)] = b
	}
	runtime.GC()
	for i := 0; i < n; i += 3 {
		delete(m, uint64(i))
	}
	sum := uint32(0)
	for i := 0; i < n; i++ {
		sum = crc32.Update(sum, crc32.IEEETable, m[uint64(i)])
	}
	sums[id] = sum
}

func main() {
	mib, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	sums := make([]uint32, parts)
	var wait sync.WaitGroup
	for id := 0; id < parts; id++ {
		wait.Add(1)
		go func(id int) {
			defer wait.Done()
			fill(id, mib<<20/300/parts, sums)
		}(id)
	}
	wait.Wait()
	fmt.Println("sums", sums)
}
