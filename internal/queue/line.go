package queue

import "container/list"

// Line holds those who wait, and never more than a number of them. It is not safe for
// concurrent use.
//
// Those who come first by what is known of them have a lane of their own: they go
// before all others, and leave only for each other.
type Line[T any] struct {
	most  int
	order Order
	lanes [lanes]list.List
}

// Order says whose turn it is, of those in a lane, and who has to leave where there
// are too many.
type Order int

const (
	// OldestFirst is for those who have time once it is their turn. Whoever comes last
	// has to leave.
	OldestFirst Order = iota

	// NewestFirst is for those whose time goes on. While all are served in time it makes
	// no difference. While they are not, whoever has waited longest has the least time
	// left, and to serve them first would be to answer nobody in time: they have to leave.
	NewestFirst
)

// The lanes, in the order that they are served in.
const (
	laneFirst = iota
	laneOthers
	lanes
)

// Place is that of one who waits.
type Place[T any] struct {
	Value   T
	lane    int
	element *list.Element // nil: it has left the line
}

// NewLine makes one for at most so many.
func NewLine[T any](most int, order Order) *Line[T] { return &Line[T]{most: most, order: order} }

// Join adds one. left is who has to leave for it, which may be itself; nil: nobody.
func (l *Line[T]) Join(value T, first bool) (joined, left *Place[T]) {
	joined = &Place[T]{Value: value, lane: laneOthers}
	if first {
		joined.lane = laneFirst
	}
	if l.Len() >= l.most {
		if left = l.last(joined.lane); left == nil {
			return joined, joined
		}
		l.Leave(left)
	}
	joined.element = l.lanes[joined.lane].PushBack(joined)
	return joined, left
}

// last is who has to leave for one of a lane; nil: that one comes after all who are
// here.
func (l *Line[T]) last(lane int) *Place[T] {
	for other := laneOthers; other >= lane; other-- {
		last := l.lanes[other].Back()
		if l.order == NewestFirst {
			last = l.lanes[other].Front()
		}
		if last != nil && (other > lane || l.order == NewestFirst) {
			return last.Value.(*Place[T])
		}
	}
	return nil
}

// Prefer moves one to those who come first.
func (l *Line[T]) Prefer(p *Place[T]) {
	if p.element == nil || p.lane == laneFirst {
		return
	}
	l.lanes[p.lane].Remove(p.element)
	p.lane = laneFirst
	p.element = l.lanes[laneFirst].PushBack(p)
}

// Waits reports whether one is still in its line.
func (p *Place[T]) Waits() bool { return p.element != nil }

// Leave takes one out, and reports whether it was still there.
func (l *Line[T]) Leave(p *Place[T]) bool {
	if p.element == nil {
		return false
	}
	l.lanes[p.lane].Remove(p.element)
	p.element = nil
	return true
}

// Next takes out whose turn it is; nil: nobody waits.
func (l *Line[T]) Next() *Place[T] {
	for lane := range l.lanes {
		next := l.lanes[lane].Front()
		if l.order == NewestFirst {
			next = l.lanes[lane].Back()
		}
		if next != nil {
			p := next.Value.(*Place[T])
			l.Leave(p)
			return p
		}
	}
	return nil
}

// Len is how many wait.
func (l *Line[T]) Len() int { return l.lanes[laneFirst].Len() + l.lanes[laneOthers].Len() }
