; The launch of a kernel, and the built-ins by which Python asks for it. launcher.py replaces the words in
; capitals.

@missing = global i64 0, align 8  ; threads are wanted that the pool does not have yet
@starter = global ptr null        ; Python callable that starts them
@none = global ptr null           ; Python's None

declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare void @Py_DecRef(ptr)
declare void @Py_IncRef(ptr)
declare ptr @PyLong_FromVoidPtr(ptr)
declare i64 @PyLong_AsSsize_t(ptr)

define ptr @jitgrad_missing() {
  ret ptr @missing
}

define void @jitgrad_set_python(ptr %none, ptr %starter) {
  store ptr %none, ptr @none
  store ptr %starter, ptr @starter
  ret void
}

define void @jitgrad_launch(ptr %block) {
  %kernel = load ptr, ptr %block
  %finish.at = getelementptr i64, ptr %block, i64 1
  %finish = load ptr, ptr %finish.at
  %units.at = getelementptr i64, ptr %block, i64 2
  %units = load i64, ptr %units.at
  %grain.at = getelementptr i64, ptr %block, i64 3
  %grain = load i64, ptr %grain.at
  %scratch.at = getelementptr i64, ptr %block, i64 4
  %scratch = load ptr, ptr %scratch.at
  %args = getelementptr i64, ptr %block, i64 6
  %divisible = icmp slt i64 %grain, %units
  br i1 %divisible, label %together, label %alone
together:
  %shared = call i1 @run_together(ptr %block, i64 %units, i64 %grain)
  br i1 %shared, label %end, label %alone
alone:
  call void %kernel(ptr %args, i64 0, i64 %units, ptr %scratch)
  br label %end
end:
  %no.finish = icmp eq ptr %finish, null
  br i1 %no.finish, label %leave, label %finishing
finishing:
  call void %finish(ptr %args, i64 0, i64 1, ptr %scratch)
  br label %leave
leave:
  ret void
}

define internal ptr @data(ptr %object) {
  %at = getelementptr i8, ptr %object, i64 HEADER_BYTES
  %data = load ptr, ptr %at
  ret ptr %data
}

define internal ptr @return_none() {
  %none = load ptr, ptr @none
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}

; Start the pool's threads before the first block that can use them; false if Python raised.
define internal i1 @prepare(ptr %block) {
  %missing = load atomic i64, ptr @missing monotonic, align 8
  %complete = icmp eq i64 %missing, 0
  br i1 %complete, label %ready, label %check
check:
  %units.at = getelementptr i64, ptr %block, i64 2
  %units = load i64, ptr %units.at
  %grain.at = getelementptr i64, ptr %block, i64 3
  %grain = load i64, ptr %grain.at
  %divisible = icmp slt i64 %grain, %units
  br i1 %divisible, label %start, label %ready
start:
  %starter = load ptr, ptr @starter
  %answer = call ptr @PyObject_CallNoArgs(ptr %starter)
  %raised = icmp eq ptr %answer, null
  br i1 %raised, label %fail, label %started
started:
  call void @Py_DecRef(ptr %answer)
  br label %ready
ready:
  ret i1 true
fail:
  ret i1 false
}

define ptr @jitgrad_py_launch(ptr %self, ptr %object) {
  %block = call ptr @data(ptr %object)
  %ready = call i1 @prepare(ptr %block)
  br i1 %ready, label %run, label %raise
run:
  %thread = call ptr @PyEval_SaveThread()
  call void @jitgrad_launch(ptr %block)
  call void @PyEval_RestoreThread(ptr %thread)
  %result = call ptr @return_none()
  ret ptr %result
raise:
  ret ptr null
}

define ptr @jitgrad_py_launch_holding_gil(ptr %self, ptr %object) {
  %block = call ptr @data(ptr %object)
  %ready = call i1 @prepare(ptr %block)
  br i1 %ready, label %run, label %raise
run:
  call void @jitgrad_launch(ptr %block)
  %result = call ptr @return_none()
  ret ptr %result
raise:
  ret ptr null
}

define ptr @jitgrad_py_address(ptr %self, ptr %array) {
  %data = call ptr @data(ptr %array)
  %result = call ptr @PyLong_FromVoidPtr(ptr %data)
  ret ptr %result
}

define ptr @jitgrad_py_bind(ptr %self, ptr %given, i64 %count) {
  %object = load ptr, ptr %given
  %block = call ptr @data(ptr %object)
  %first.at = getelementptr ptr, ptr %given, i64 1
  %first.object = load ptr, ptr %first.at
  %first = call i64 @PyLong_AsSsize_t(ptr %first.object)
  br label %test
test:
  %i = phi i64 [ 2, %0 ], [ %i.next, %write ]
  %word = phi i64 [ %first, %0 ], [ %word.next, %write ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %write, label %end
write:
  %array.at = getelementptr ptr, ptr %given, i64 %i
  %array = load ptr, ptr %array.at
  %data = call ptr @data(ptr %array)
  %word.at = getelementptr i64, ptr %block, i64 %word
  store ptr %data, ptr %word.at
  %i.next = add i64 %i, 1
  %word.next = add i64 %word, 1
  br label %test
end:
  %result = call ptr @return_none()
  ret ptr %result
}
