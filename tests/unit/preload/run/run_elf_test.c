/* run_elf_test.c - what is read out of ELF files, right and wrong ones */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "preload/run/run_elf.h"

/* A small program: header, three segments, what they hold, and sections. */
struct image {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
	char interp[32];
	struct {
		Elf64_Nhdr head;
		char name[4];
		char desc[8];
	} note[2];
	Elf64_Dyn dyn[2];
	Elf64_Shdr sh[3];
	char names[64];
};

static struct image image(void)
{
	struct image im = { 0 };

	memcpy(im.eh.e_ident, ELFMAG, SELFMAG);
	im.eh.e_ident[EI_CLASS] = ELFCLASS64;
	im.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	im.eh.e_type = ET_DYN;
	im.eh.e_machine = EM_X86_64;
	im.eh.e_phentsize = sizeof(Elf64_Phdr);
	im.eh.e_phoff = offsetof(struct image, ph);
	im.eh.e_phnum = 3;
	im.ph[0] = (Elf64_Phdr){ .p_type = PT_INTERP,
				 .p_offset = offsetof(struct image, interp),
				 .p_filesz = 32 };
	im.ph[1] = (Elf64_Phdr){ .p_type = PT_NOTE,
				 .p_offset = offsetof(struct image, note),
				 .p_filesz = sizeof(im.note),
				 .p_align = 4 };
	im.ph[2] = (Elf64_Phdr){ .p_type = PT_DYNAMIC,
				 .p_offset = offsetof(struct image, dyn),
				 .p_filesz = sizeof(im.dyn) };
	strcpy(im.interp, "/lib64/ld-linux-x86-64.so.2");
	for (int i = 0; i < 2; i++) {
		im.note[i].head =
			(Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 8, .n_type = NT_GNU_BUILD_ID };
		memcpy(im.note[i].name, "GNU", 4);
	}
	im.eh.e_shentsize = sizeof(Elf64_Shdr);
	im.eh.e_shoff = offsetof(struct image, sh);
	im.eh.e_shnum = 3;
	im.eh.e_shstrndx = 2;
	memcpy(im.names, "\0.text\0.rodata", 15);
	im.sh[1].sh_name = 1;
	im.sh[2] = (Elf64_Shdr){ .sh_name = 7,
				 .sh_offset = offsetof(struct image, names),
				 .sh_size = 64 };
	return im;
}

/* From memory of exactly its size, so that ASan sees a byte too many. */
static int look(struct run_elf *e, const void *bytes, size_t len)
{
	static void *copy;

	free(copy);
	copy = malloc(len ? len : 1);
	memcpy(copy, bytes, len);
	return run_elf_read(e, copy, len);
}

Test(run_elf, run_elf_read__dynamic_program)
{
	struct image im = image();
	struct run_elf e;

	cr_assert_eq(look(&e, &im, sizeof(im)), 0);
	cr_assert(e.class64 && e.little && !e.go && !e.loader);
	cr_assert_eq(e.machine, EM_X86_64);
	cr_assert_str_eq(e.interp, "/lib64/ld-linux-x86-64.so.2");
}

Test(run_elf, run_elf_read__static_program)
{
	struct image im = image();
	struct run_elf e;

	im.ph[0].p_type = PT_LOAD;
	cr_assert_eq(look(&e, &im, sizeof(im)), 0);
	cr_assert_str_eq(e.interp, "");
	cr_assert(!e.loader);
}

Test(run_elf, run_elf_read__the_loader_itself_has_a_name)
{
	struct image im = image();
	struct run_elf e;

	im.ph[0].p_type = PT_LOAD;
	im.dyn[0].d_tag = DT_SONAME;
	cr_assert_eq(look(&e, &im, sizeof(im)), 0);
	cr_assert(e.loader);
	im.eh.e_type = ET_EXEC;
	cr_assert_eq(look(&e, &im, sizeof(im)), 0);
	cr_assert(!e.loader);
}

Test(run_elf, run_elf_read__go_by_note)
{
	struct image im = image();
	struct run_elf e;

	memcpy(im.note[1].name, "Go\0", 4);
	im.note[1].head.n_type = 4;
	cr_assert_eq(look(&e, &im, sizeof(im)), 0);
	cr_assert(e.go);
	im.note[1].head.n_type = 3;
	cr_assert_eq(look(&e, &im, sizeof(im)), 0);
	cr_assert(!e.go);
}

Test(run_elf, run_elf_read__go_by_section)
{
	static const char *const names[] = { ".go.buildinfo", ".note.go.buildid" };
	struct run_elf e;

	for (int i = 0; i < 2; i++) {
		struct image im = image();

		strcpy(im.names + 1, names[i]);
		cr_assert_eq(look(&e, &im, sizeof(im)), 0);
		cr_assert(e.go, "%s", names[i]);
		im.names[3] = 'x';
		cr_assert_eq(look(&e, &im, sizeof(im)), 0);
		cr_assert(!e.go);
	}
}

Test(run_elf, run_elf_read__other_machines)
{
	struct image im = image();
	struct run_elf e;

	im.eh.e_ident[EI_CLASS] = ELFCLASS32;
	im.eh.e_machine = EM_386;
	cr_assert_eq(look(&e, &im, 52), 0);
	cr_assert(!e.class64);
	cr_assert_str_eq(run_elf_machine_name(e.machine, e.class64), "i386");
	im.eh.e_ident[EI_CLASS] = ELFCLASS64;
	im.eh.e_ident[EI_DATA] = ELFDATA2MSB;
	im.eh.e_machine = __builtin_bswap16(EM_S390);
	cr_assert_eq(look(&e, &im, sizeof(im)), 0);
	cr_assert(!e.little);
	cr_assert_str_eq(run_elf_machine_name(e.machine, e.class64), "s390");
	cr_assert_null(run_elf_machine_name(0xfffe, true));
	cr_assert_str_eq(run_elf_machine_name(EM_X86_64, false), "x32");
}

Test(run_elf, run_elf_read__not_elf)
{
	struct run_elf e;

	cr_assert_eq(look(&e, "", 0), -ENOEXEC);
	cr_assert_eq(look(&e, "\177ELF", 4), -ENOEXEC);
	cr_assert_eq(look(&e, "#!/bin/sh\n..........................", 30), -ENOEXEC);
}

/* Every prefix, and every byte set to its extremes: an answer or an error, never a byte outside. */
Test(run_elf, run_elf_read__any_cut_and_any_byte)
{
	struct image im = image();
	unsigned char bytes[sizeof(im)];
	struct run_elf e;
	int errors = 0;

	memcpy(im.note[1].name, "Go\0", 4);
	for (size_t len = 0; len <= sizeof(im); len++)
		errors += look(&e, &im, len) < 0;
	cr_assert_gt(errors, (int)offsetof(struct image, interp));
	for (size_t i = 0; i < sizeof(im); i++) {
		for (int v = 0; v < 3; v++) {
			memcpy(bytes, &im, sizeof(im));
			bytes[i] = v == 0 ? 0 : v == 1 ? 0x7f : 0xff;
			if (!look(&e, bytes, sizeof(bytes)) && e.interp)
				cr_assert_lt(strlen(e.interp), sizeof(im));
		}
	}
}
