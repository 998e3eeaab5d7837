; Sums of rows into the rows that an index names. scatter.py replaces the words in capitals.

; One row to another, from column %low to %high. The two do not overlap.
define internal void @add_row(ptr noalias %to, ptr noalias %from, i64 %low, i64 %high) alwaysinline {
  br label %add
add:
  %i = phi i64 [ %low, %0 ], [ %next, %add ]
  %to.at = getelementptr SCALAR, ptr %to, i64 %i
  %from.at = getelementptr SCALAR, ptr %from, i64 %i
  %old = load SCALAR, ptr %to.at
  %value = load SCALAR, ptr %from.at
  %new = fadd SCALAR %old, %value
  store SCALAR %new, ptr %to.at
  %next = add nuw nsw i64 %i, 1
  %more = icmp slt i64 %next, %high
  br i1 %more, label %add, label %end
end:
  ret void
}

; Units low to high: each is some columns of one array, which begin at 0 if %blank. All rows of an array go to
; it in their order, each %every times.
define void @NAME(ptr noalias %args, i64 %low, i64 %high, ptr %scratch) {
  %index.at = getelementptr i64, ptr %args, i64 1
  %rows.at = getelementptr i64, ptr %args, i64 2
  %size.at = getelementptr i64, ptr %args, i64 3
  %count.at = getelementptr i64, ptr %args, i64 4
  %width.at = getelementptr i64, ptr %args, i64 5
  %parts.at = getelementptr i64, ptr %args, i64 6
  %step.at = getelementptr i64, ptr %args, i64 7
  %out = load ptr, ptr %args
  %index = load ptr, ptr %index.at
  %rows = load ptr, ptr %rows.at
  %size = load i64, ptr %size.at
  %count = load i64, ptr %count.at
  %width = load i64, ptr %width.at
  %parts = load i64, ptr %parts.at
  %step = load i64, ptr %step.at
  %blank.at = getelementptr i64, ptr %args, i64 8
  %blank = load i64, ptr %blank.at
  %every.at = getelementptr i64, ptr %args, i64 9
  %every = load i64, ptr %every.at
  %begins = icmp ne i64 %blank, 0
  %whole = icmp eq i64 %parts, 1
  %array.words = mul i64 %size, %width
  %rows.count = udiv i64 %count, %every
  %rows.words = mul i64 %rows.count, %width
  br label %unit
unit:
  %u = phi i64 [ %low, %0 ], [ %u.next, %done ]
  %array = sdiv i64 %u, %parts
  %part = srem i64 %u, %parts
  %first = mul i64 %part, %step
  %first.next = add i64 %first, %step
  %last = call i64 @llvm.smin.i64(i64 %first.next, i64 %width)
  %out.offset = mul i64 %array, %array.words
  %rows.offset = mul i64 %array, %rows.words
  %out.array = getelementptr SCALAR, ptr %out, i64 %out.offset
  %rows.array = getelementptr SCALAR, ptr %rows, i64 %rows.offset
  %columns = sub i64 %last, %first
  %columns.bytes = mul i64 %columns, BYTES
  br i1 %begins, label %empty, label %sum
empty:
  br i1 %whole, label %empty.array, label %empty.row
empty.array:
  %array.bytes = mul i64 %array.words, BYTES
  call void @llvm.memset.p0.i64(ptr %out.array, i8 0, i64 %array.bytes, i1 false)
  br label %sum
empty.row:
  %b = phi i64 [ 0, %empty ], [ %b.next, %empty.row ]
  %b.offset = mul i64 %b, %width
  %b.first = add i64 %b.offset, %first
  %b.at = getelementptr SCALAR, ptr %out.array, i64 %b.first
  call void @llvm.memset.p0.i64(ptr %b.at, i8 0, i64 %columns.bytes, i1 false)
  %b.next = add nuw nsw i64 %b, 1
  %b.more = icmp slt i64 %b.next, %size
  br i1 %b.more, label %empty.row, label %sum
sum:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %order, label %done
order:
  %volume = mul i64 %width, %every
  %single = icmp eq i64 %volume, 1
  br i1 %single, label %element, label %row
element:
  %e = phi i64 [ 0, %order ], [ %e.next, %element ]
  %place.at = getelementptr i64, ptr %index, i64 %e
  %place = load i64, ptr %place.at
  %target = getelementptr SCALAR, ptr %out.array, i64 %place
  %value.at = getelementptr SCALAR, ptr %rows.array, i64 %e
  %value = load SCALAR, ptr %value.at
  %old = load SCALAR, ptr %target
  %total = fadd SCALAR %old, %value
  store SCALAR %total, ptr %target
  %e.next = add nuw nsw i64 %e, 1
  %e.more = icmp slt i64 %e.next, %count
  br i1 %e.more, label %element, label %done
row:
  %r = phi i64 [ 0, %order ], [ %r.next, %row ]
  %from = phi ptr [ %rows.array, %order ], [ %from.next, %row ]
  %left = phi i64 [ %every, %order ], [ %left.next, %row ]
  %to.at = getelementptr i64, ptr %index, i64 %r
  %to.row = load i64, ptr %to.at
  %to.offset = mul i64 %to.row, %width
  %to = getelementptr SCALAR, ptr %out.array, i64 %to.offset
  call void @add_row(ptr %to, ptr %from, i64 %first, i64 %last)
  %from.after = getelementptr SCALAR, ptr %from, i64 %width
  %left.less = sub i64 %left, 1
  %spent = icmp eq i64 %left.less, 0
  %from.next = select i1 %spent, ptr %from.after, ptr %from
  %left.next = select i1 %spent, i64 %every, i64 %left.less
  %r.next = add nuw nsw i64 %r, 1
  %r.more = icmp slt i64 %r.next, %count
  br i1 %r.more, label %row, label %done
done:
  %u.next = add nuw nsw i64 %u, 1
  %u.more = icmp slt i64 %u.next, %high
  br i1 %u.more, label %unit, label %end
end:
  ret void
}

declare i64 @llvm.smin.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
