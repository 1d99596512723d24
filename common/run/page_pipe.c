#include "run/page_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "run/fd.h"
#include "run/lock.h"

#define PIPES_MAX 32

struct page_pipe {
	struct page_pipe *next; /* of the spare ones */
	int in, out;
	size_t held;
	bool is_spent; /* what it holds is not known */
};

static struct lock lock = LOCK_INITIALIZER(LEAF);
static struct page_pipe *spare; /* under lock, like the count */
static unsigned count;          /* of all */

static struct page_pipe *
make(void)
{
	struct page_pipe *p;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return NULL;
	if (fcntl(ends[1], F_SETPIPE_SZ, PAGE_PIPE_BYTES) < PAGE_PIPE_BYTES) {
		fd_close(ends[0]);
		fd_close(ends[1]);
		return NULL;
	}
	p = xcalloc(1, sizeof(*p));
	p->out = ends[0];
	p->in = ends[1];
	return p;
}

struct page_pipe *
page_pipe_take(void)
{
	struct page_pipe *p;

	LOCK_SCOPE(&lock);
	p = spare;
	if (p) {
		spare = p->next;
		return p;
	}
	if (count >= PIPES_MAX)
		return NULL;
	p = make();
	if (p)
		count++;
	return p;
}

bool
page_pipe_fill(struct page_pipe *p, int file, uint64_t offset, size_t n)
{
	off64_t at = (off64_t)offset;

	while (n > 0) {
		ssize_t r = splice(file, &at, p->in, NULL, n, SPLICE_F_NONBLOCK);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			p->is_spent = true;
			return false;
		}
		n -= (size_t)r;
		p->held += (size_t)r;
	}
	return true;
}

int
page_pipe_descriptor(const struct page_pipe *p)
{
	return p->out;
}

void
page_pipe_drained(struct page_pipe *p, size_t n)
{
	p->held -= n;
}

void
page_pipe_put(struct page_pipe *p)
{
	if (!p)
		return;
	lock_take(&lock);
	if (!p->is_spent && p->held == 0) {
		p->next = spare;
		spare = p;
		p = NULL;
	} else {
		count--;
	}
	lock_release(&lock);
	if (!p)
		return;
	fd_close(p->in);
	fd_close(p->out);
	free(p);
}
