; One launch after another, without a step of Python between them.
;
; A row of the table is six words: the function, the blocks along x and y, threads of a block, bytes of shared
; memory, and the address of the driver's `extra` list, which names the argument block and its size. The
; result is 0, or the driver's error with the number of the row in the upper half.

define i64 @jitgrad_launch_grids(ptr %launch, ptr %table, i64 %count, ptr %stream) {
entry:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %row, label %done

row:
  %number = phi i64 [ 0, %entry ], [ %next, %launched ]
  %first = mul i64 %number, 6
  %at = getelementptr i64, ptr %table, i64 %first
  %function = load ptr, ptr %at
  %at1 = getelementptr i64, ptr %at, i64 1
  %x = load i32, ptr %at1
  %at2 = getelementptr i64, ptr %at, i64 2
  %y = load i32, ptr %at2
  %at3 = getelementptr i64, ptr %at, i64 3
  %threads = load i32, ptr %at3
  %at4 = getelementptr i64, ptr %at, i64 4
  %shared = load i32, ptr %at4
  %at5 = getelementptr i64, ptr %at, i64 5
  %extra = load ptr, ptr %at5
  %error = call i32 %launch(ptr %function, i32 %x, i32 %y, i32 1, i32 %threads, i32 1, i32 1, i32 %shared, ptr %stream, ptr null, ptr %extra)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %refused, label %launched

launched:
  %next = add i64 %number, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %row, label %done

refused:
  %code = zext i32 %error to i64
  %upper = shl i64 %number, 32
  %result = or i64 %upper, %code
  ret i64 %result

done:
  ret i64 0
}
