; The pool of native threads. launcher.py replaces the words in capitals.

; The state, in words, apart by who writes them: 0 busy; 8 next unit; 16 room for threads in the job,
; 17 threads in it, 18 slots given out, 19 its block, 20 threads of the pool, 21 stop; 24 mutex, 40 and 56
; conditions, of which the largest known takes 64 of its 128 bytes.
@state = global [72 x i64] zeroinitializer, align 64

declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

; Take chunks until none is left, in the scratch of one slot.
define internal void @run_chunks(ptr %block, i64 %slot) {
  %kernel = load ptr, ptr %block
  %units.at = getelementptr i64, ptr %block, i64 2
  %units = load i64, ptr %units.at
  %grain.at = getelementptr i64, ptr %block, i64 3
  %grain.given = load i64, ptr %grain.at
  %grain = call i64 @llvm.smax.i64(i64 %grain.given, i64 1)
  %scratch.at = getelementptr i64, ptr %block, i64 4
  %scratch.base = load ptr, ptr %scratch.at
  %bytes.at = getelementptr i64, ptr %block, i64 5
  %bytes = load i64, ptr %bytes.at
  %offset = mul i64 %slot, %bytes
  %scratch = getelementptr i8, ptr %scratch.base, i64 %offset
  %args = getelementptr i64, ptr %block, i64 6
  %next = getelementptr i64, ptr @state, i64 8
  br label %take
take:
  %lo = atomicrmw add ptr %next, i64 %grain monotonic
  %left = icmp slt i64 %lo, %units
  br i1 %left, label %run, label %none
run:
  %end = add i64 %lo, %grain
  %hi = call i64 @llvm.smin.i64(i64 %end, i64 %units)
  call void %kernel(ptr %args, i64 %lo, i64 %hi, ptr %scratch)
  br label %take
none:
  ret void
}

; Wake up to two threads if there is room for them. Each of them wakes two more, so that nobody pays for all.
define internal void @wake_two(i64 %room) {
  %work = getelementptr i64, ptr @state, i64 40
  %one = icmp sgt i64 %room, 0
  br i1 %one, label %first, label %end
first:
  call i32 @pthread_cond_signal(ptr %work)
  %two = icmp sgt i64 %room, 1
  br i1 %two, label %second, label %end
second:
  call i32 @pthread_cond_signal(ptr %work)
  br label %end
end:
  ret void
}

; The life of a pool thread: sleep until there is room in a job, join it, leave it, sleep again.
define ptr @jitgrad_pool_thread(ptr %unused) {
  %mutex = getelementptr i64, ptr @state, i64 24
  %work = getelementptr i64, ptr @state, i64 40
  %done = getelementptr i64, ptr @state, i64 56
  %room.at = getelementptr i64, ptr @state, i64 16
  %active.at = getelementptr i64, ptr @state, i64 17
  %joined.at = getelementptr i64, ptr @state, i64 18
  %job.at = getelementptr i64, ptr @state, i64 19
  %stop.at = getelementptr i64, ptr @state, i64 21
  br label %enter
enter:
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %room = load i64, ptr %room.at
  %wanted = icmp sgt i64 %room, 0
  br i1 %wanted, label %join, label %idle
idle:
  %stop = load i64, ptr %stop.at
  %stopping = icmp ne i64 %stop, 0
  br i1 %stopping, label %leave, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr %work, ptr %mutex)
  br label %look
join:
  %room.left = sub i64 %room, 1
  store atomic i64 %room.left, ptr %room.at monotonic, align 8
  %joined = load i64, ptr %joined.at
  %slot = add i64 %joined, 1
  store i64 %slot, ptr %joined.at
  %active.before = load i64, ptr %active.at
  %active.more = add i64 %active.before, 1
  store atomic i64 %active.more, ptr %active.at monotonic, align 8
  %job = load ptr, ptr %job.at
  call i32 @pthread_mutex_unlock(ptr %mutex)
  call void @wake_two(i64 %room.left)
  call void @run_chunks(ptr %job, i64 %slot)
  call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 0, ptr %room.at monotonic, align 8
  %active.now = load i64, ptr %active.at
  %active.less = sub i64 %active.now, 1
  store atomic i64 %active.less, ptr %active.at release, align 8
  %last = icmp eq i64 %active.less, 0
  br i1 %last, label %tell, label %linger
tell:
  call i32 @pthread_cond_signal(ptr %done)
  br label %linger
linger:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %spin
spin:
  %turn = phi i64 [ 0, %linger ], [ %turn.next, %again ]
  %room.seen = load atomic i64, ptr %room.at monotonic, align 8
  %room.open = icmp sgt i64 %room.seen, 0
  br i1 %room.open, label %enter, label %again
again:
  call void asm sideeffect "PAUSE", ""()
  %turn.next = add i64 %turn, 1
  %spent = icmp sge i64 %turn.next, WORKER_SPIN
  br i1 %spent, label %enter, label %spin
leave:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret ptr null
}

define ptr @jitgrad_pool_state() {
  ret ptr @state
}

define void @jitgrad_pool_stop() {
  %mutex = getelementptr i64, ptr @state, i64 24
  %work = getelementptr i64, ptr @state, i64 40
  %stop.at = getelementptr i64, ptr @state, i64 21
  call i32 @pthread_mutex_lock(ptr %mutex)
  store i64 1, ptr %stop.at
  call i32 @pthread_cond_broadcast(ptr %work)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}

; Become the pool's only caller, without waiting.
define i64 @jitgrad_pool_claim() {
  %swap = cmpxchg ptr @state, i64 0, i64 1 acquire monotonic
  %claimed = extractvalue { i64, i1 } %swap, 1
  %answer = zext i1 %claimed to i64
  ret i64 %answer
}

define void @jitgrad_pool_release() {
  store atomic i64 0, ptr @state release, align 8
  ret void
}

; Run a block on the caller and the pool's threads, unless the pool is taken or empty.
define internal i1 @run_together(ptr %block, i64 %units, i64 %grain.given) {
  %workers.at = getelementptr i64, ptr @state, i64 20
  %workers.seen = load atomic i64, ptr %workers.at monotonic, align 8
  %empty = icmp eq i64 %workers.seen, 0
  br i1 %empty, label %refuse, label %claim
claim:
  %claimed = call i64 @jitgrad_pool_claim()
  %free = icmp ne i64 %claimed, 0
  br i1 %free, label %open, label %refuse
refuse:
  ret i1 false
open:
  %mutex = getelementptr i64, ptr @state, i64 24
  %done = getelementptr i64, ptr @state, i64 56
  %next = getelementptr i64, ptr @state, i64 8
  %room.at = getelementptr i64, ptr @state, i64 16
  %active.at = getelementptr i64, ptr @state, i64 17
  %joined.at = getelementptr i64, ptr @state, i64 18
  %job.at = getelementptr i64, ptr @state, i64 19
  %grain = call i64 @llvm.smax.i64(i64 %grain.given, i64 1)
  %units.less = sub i64 %units, 1
  %others = sdiv i64 %units.less, %grain
  %workers = load atomic i64, ptr %workers.at monotonic, align 8
  %room = call i64 @llvm.smin.i64(i64 %others, i64 %workers)
  call i32 @pthread_mutex_lock(ptr %mutex)
  store i64 0, ptr %next
  store i64 0, ptr %joined.at
  store ptr %block, ptr %job.at
  store atomic i64 %room, ptr %room.at monotonic, align 8
  call i32 @pthread_mutex_unlock(ptr %mutex)
  call void @wake_two(i64 %room)
  call void @run_chunks(ptr %block, i64 0)
  call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 0, ptr %room.at monotonic, align 8
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %spin
spin:
  %turn = phi i64 [ 0, %open ], [ %turn.next, %again ]
  %active.seen = load atomic i64, ptr %active.at acquire, align 8
  %quiet = icmp eq i64 %active.seen, 0
  br i1 %quiet, label %close, label %again
again:
  call void asm sideeffect "PAUSE", ""()
  %turn.next = add i64 %turn, 1
  %spent = icmp sge i64 %turn.next, CALLER_SPIN
  br i1 %spent, label %wait, label %spin
wait:
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %active = load i64, ptr %active.at
  %over = icmp eq i64 %active, 0
  br i1 %over, label %waited, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr %done, ptr %mutex)
  br label %look
waited:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %close
close:
  call void @jitgrad_pool_release()
  ret i1 true
}
