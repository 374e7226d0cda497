# For every folder with tests: how one is added that runs guests by ${VM_RUN}.

set(VM_RUN ${CMAKE_CURRENT_LIST_DIR}/run)

# rmem_vm_test(NAME LABELS COMMAND...): a guest keeps one processor of this machine busy, a pair
# (which sets PROCESSORS) two. Kernels are fetched before, so that no test waits for the network.
function(rmem_vm_test name labels)
  add_test(NAME ${name} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT 600 SKIP_RETURN_CODE 77
                       PROCESSORS 1 FIXTURES_REQUIRED vm_kernels
                       ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endfunction()
